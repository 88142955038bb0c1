/** Owns what of the daemon can be reached over the link: the methods of `Daemon`, and nothing else. */

import { RpcTarget } from "capnweb";
import type { AudioPiece, Browsed, Daemon, FileAnswer, FileContent, FileEntry, Resumed, Spawned, SpawnSpec, Suspended, SuspendStrategy, TranscribeAnswer } from "../../sdk/protocol/index.ts";

/** What the object may call; only these methods are reachable over the link. */
export class DaemonTarget extends RpcTarget implements Daemon {
  readonly #daemon: Daemon;
  constructor(daemon: Daemon) {
    super();
    this.#daemon = daemon;
  }
  spawn(spec: SpawnSpec): Promise<Spawned> {
    return this.#daemon.spawn(spec);
  }
  destroy(runnerId: string, reason: string): Promise<void> {
    return this.#daemon.destroy(runnerId, reason);
  }
  forget(sessionId: string): Promise<void> {
    return this.#daemon.forget(sessionId);
  }
  suspend(runnerId: string, strategy: SuspendStrategy, fallback: SuspendStrategy | null): Promise<Suspended> {
    return this.#daemon.suspend(runnerId, strategy, fallback);
  }
  resume(runnerId: string): Promise<Resumed> {
    return this.#daemon.resume(runnerId);
  }
  discardFiles(sessionId: string, workspaceId: string): Promise<void> {
    return this.#daemon.discardFiles(sessionId, workspaceId);
  }
  listFiles(workspaceId: string, path: string): Promise<FileAnswer<FileEntry[]>> {
    return this.#daemon.listFiles(workspaceId, path);
  }
  readFile(workspaceId: string, path: string, offset: number, length: number): Promise<FileAnswer<FileContent>> {
    return this.#daemon.readFile(workspaceId, path, offset, length);
  }
  transcribe(piece: AudioPiece): Promise<TranscribeAnswer> {
    if (!this.#daemon.transcribe) throw new Error("no voice here");
    return this.#daemon.transcribe(piece);
  }
  browse(root: string, path: string, offset: number, limit: number): Promise<FileAnswer<Browsed>> {
    return this.#daemon.browse(root, path, offset, limit);
  }
  readBrowsed(root: string, path: string, offset: number, length: number): Promise<FileAnswer<FileContent>> {
    return this.#daemon.readBrowsed(root, path, offset, length);
  }
}
