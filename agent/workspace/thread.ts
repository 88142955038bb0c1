/** Owns the runner's side of syncing and restoring in a thread of its own: reading and hashing half a gigabyte must not hold up the runner's links. */

import { Worker } from "node:worker_threads";
import { Failure, type ErrorBody } from "../../sdk/protocol/errors.ts";
import type { Secret } from "../../sdk/protocol/secret.ts";
import { treeFailure } from "../../sdk/workspace/failure.ts";
import type { Measured } from "../../sdk/workspace/measure.ts";
import type { RestoreOptions, RestoreProgress, RestoreResult } from "../../sdk/workspace/restore.ts";
import type { SyncOptions, SyncProgress, SyncResult, TreeSync } from "../../sdk/workspace/sync.ts";

/** Where the bytes go: the edge (through the relay's socket where there is one), or a directory. */
export type DoorPlace = { base: string; token: Secret; socket?: string; sessionId?: string; parallel?: number; attempts?: number } | { directory: string };

type PlainDoor = { base: string; token: string; socket?: string; sessionId?: string; parallel?: number; attempts?: number } | { directory: string };
export type ThreadOrder =
  | { do: "sync"; door: PlainDoor; options: Omit<SyncOptions, "door" | "now" | "onProgress" | "signal"> }
  | { do: "measure"; root: string }
  | { do: "restore"; door: PlainDoor; options: Omit<RestoreOptions, "door" | "onProgress" | "signal"> };
export type ThreadSays =
  | { is: "progress"; progress: SyncProgress | RestoreProgress }
  | { is: "read" }
  | { is: "done"; result: SyncResult | RestoreResult | Measured }
  | { is: "failed"; error: ErrorBody | null; message: string };

/** `syncTree` in a thread. */
export function syncInThread({ door, onProgress, signal, ...options }: Omit<SyncOptions, "door" | "now"> & { door: DoorPlace }): TreeSync {
  const job = start({ do: "sync", door: plain(door), options }, onProgress as ((progress: unknown) => void) | undefined, signal);
  return { read: job.read, done: job.done as Promise<SyncResult> };
}

/** `restoreTree` in a thread. */
export async function restoreInThread({ door, onProgress, signal, ...options }: Omit<RestoreOptions, "door"> & { door: DoorPlace }): Promise<RestoreResult> {
  const job = start({ do: "restore", door: plain(door), options }, onProgress as ((progress: unknown) => void) | undefined, signal);
  return (await job.done) as RestoreResult;
}

/** `measureTree` in a thread. */
export async function measureInThread({ root, signal }: { root: string; signal?: AbortSignal }): Promise<Measured> {
  return (await start({ do: "measure", root }, undefined, signal).done) as Measured;
}

/** From the sources, or beside the bundled runner. */
function program(): URL {
  return new URL(import.meta.url.endsWith(".ts") ? "./worker.ts" : "./workspace.js", import.meta.url);
}

function plain(door: DoorPlace): PlainDoor {
  return "directory" in door ? door : { ...door, token: door.token.reveal() };
}

function start(order: ThreadOrder, onProgress: ((progress: unknown) => void) | undefined, signal: AbortSignal | undefined): { read: Promise<void>; done: Promise<SyncResult | RestoreResult | Measured> } {
  if (signal?.aborted) {
    const refused = Promise.reject(treeFailure("aborted", "it was called off before it began"));
    refused.catch(() => undefined);
    return { read: refused, done: refused };
  }
  const worker = new Worker(program(), { workerData: order, execArgv: [], name: `workspace-${order.do}` });
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  const abort = () => worker.postMessage("abort");
  const read = Promise.withResolvers<void>();
  const done = new Promise<SyncResult | RestoreResult | Measured>((resolve, reject) => {
    worker.on("message", (said: ThreadSays) => {
      if (said.is === "progress") onProgress?.(said.progress);
      else if (said.is === "read") read.resolve();
      else if (said.is === "done") resolve(said.result);
      else reject(said.error ? new Failure(said.error.code, said.error.message, { ...(said.error.details && { details: said.error.details }), ...(said.error.hint && { hint: said.error.hint }) }) : new Error(said.message));
    });
    worker.on("error", reject);
    worker.on("exit", (code) => reject(treeFailure("aborted", `the thread that was to ${order.do} the files ended early (${code})`)));
  });
  signal?.addEventListener("abort", abort, { once: true });
  done.then(() => read.resolve(), read.reject).finally(() => signal?.removeEventListener("abort", abort)).catch(() => undefined);
  read.promise.catch(() => undefined);
  return { read: read.promise, done };
}
