/** Owns a host that starts nothing: it keeps what it is told to spawn, so that a test can be the runner itself, honest or not. */

import { once } from "node:events";
import { newWebSocketRpcSession, RpcTarget, type RpcStub } from "capnweb";
import { WebSocket } from "ws";
import {
  HOST_LINK_VERSION, hostWelcome,
  type Browsed, type Daemon, type FileAnswer, type FileContent, type FileEntry, type HostDoor, type HostInfo, type RunnerReport, type Resumed, type Spawned, type SpawnSpec, type Suspended,
} from "../../sdk/protocol/index.ts";
import { eventually } from "./eventually.ts";

export const HOST_INFO: HostInfo = {
  name: "spec host", version: "0.1.0", os: "linux", arch: "x64", cpus: 2, memory_mb: 1_024, labels: {}, pool: "default", max_runners: 1_000, default_provider: "process",
  providers: [{ name: "process", sandbox: "process", available: true, detail: "the test itself", capabilities: { isolation: "none", pause: false, snapshot: false, limits: false, network_policy: false } }],
  agents: [{ name: "raw", available: true, detail: "the test itself" }],
};

export interface SpecHost {
  id: string;
  door: RpcStub<HostDoor>;
  /** The newest spawn of a session, with an epoch of at least this. */
  spec(sessionId: string, epoch?: number): Promise<SpawnSpec>;
  /** Says that a runner has gone for good. */
  gone(spec: SpawnSpec): Promise<void>;
  close(): void;
}

const NO_FILES: { ok: false; code: "not_found"; message: string } = { ok: false, code: "not_found", message: "this host keeps no files" };

class SpecDaemon extends RpcTarget implements Daemon {
  readonly specs: SpawnSpec[] = [];
  async spawn(spec: SpawnSpec): Promise<Spawned> {
    this.specs.push(spec);
    return { ok: true, provider: "process", sandbox: "process", isolation: "none: the test itself" };
  }
  async destroy(): Promise<void> {}
  async forget(): Promise<void> {}
  async suspend(): Promise<Suspended> {
    return { ok: false, error: { code: "provider_failed", message: "this host runs nothing" } };
  }
  async resume(): Promise<Resumed> {
    return { ok: false, gone: true, error: { code: "provider_failed", message: "this host runs nothing" } };
  }
  async discardFiles(): Promise<void> {}
  async listFiles(): Promise<FileAnswer<FileEntry[]>> {
    return NO_FILES;
  }
  async readFile(): Promise<FileAnswer<FileContent>> {
    return NO_FILES;
  }
  async browse(): Promise<FileAnswer<Browsed>> {
    return NO_FILES;
  }
  async readBrowsed(): Promise<FileAnswer<FileContent>> {
    return NO_FILES;
  }
}

/** A WebSocket to the hosts' door. */
export async function hostSocket(url: string, token: string, query = ""): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/links/host${query}`, { headers: { authorization: `Bearer ${token}` }, perMessageDeflate: false });
  await once(socket, "open");
  return socket;
}

/** Joins with a runner token and waits for its welcome. */
export async function startSpecHost(url: string, token: string, query = ""): Promise<SpecHost> {
  const socket = await hostSocket(url, token, query);
  const daemon = new SpecDaemon();
  const door = newWebSocketRpcSession<HostDoor>(socket as unknown as globalThis.WebSocket);
  const none: RunnerReport[] = [];
  const { host_id } = hostWelcome.parse(await door.hello({ version: HOST_LINK_VERSION, info: HOST_INFO, runners: none }, daemon));
  return {
    id: host_id,
    door,
    spec: (sessionId, epoch = 1) => eventually("the runner is to be spawned", () => daemon.specs.findLast((spec) => spec.session_id === sessionId && spec.epoch >= epoch)),
    async gone({ runner_id, session_id, epoch }) {
      await door.report({ runner_id, session_id, epoch, provider: "process", sandbox: "process", isolation: null, state: "exited", exit_code: 1, reason: "gone" });
    },
    close: () => socket.terminate(),
  };
}
