/** Owns the program of the thread: one order, carried out, with what happens told to the thread that gave it. */

import { parentPort, workerData } from "node:worker_threads";
import { Failure } from "../../sdk/protocol/errors.ts";
import { Secret } from "../../sdk/protocol/secret.ts";
import { DirectoryDoor, type Door } from "../../sdk/workspace/door.ts";
import { HttpDoor } from "../../sdk/workspace/http-door.ts";
import { measureTree } from "../../sdk/workspace/measure.ts";
import { restoreTree } from "../../sdk/workspace/restore.ts";
import { syncTree } from "../../sdk/workspace/sync.ts";
import type { ThreadOrder, ThreadSays } from "./thread.ts";

const order = workerData as ThreadOrder;
const cancel = new AbortController();
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
const say = (said: ThreadSays) => parentPort?.postMessage(said);
parentPort?.on("message", () => cancel.abort());

function open(at: Exclude<ThreadOrder, { do: "measure" }>["door"]): Door {
  if ("directory" in at) return new DirectoryDoor(at.directory);
  const token = new Secret(at.token);
  return new HttpDoor({ ...at, token: () => token });
}

async function carryOut(): Promise<void> {
  if (order.do === "measure") return say({ is: "done", result: await measureTree({ root: order.root, signal: cancel.signal }) });
  const door = open(order.door);
  try {
    await transfer(order, door);
  } finally {
    await door.close();
  }
}

async function transfer(order: Exclude<ThreadOrder, { do: "measure" }>, door: Door): Promise<void> {
  const onProgress = (progress: Extract<ThreadSays, { is: "progress" }>["progress"]) => say({ is: "progress", progress });
  if (order.do === "restore") return say({ is: "done", result: await restoreTree({ ...order.options, door, signal: cancel.signal, onProgress }) });
  const sync = syncTree({ ...order.options, door, signal: cancel.signal, onProgress });
  sync.read.then(() => say({ is: "read" }), () => undefined);
  say({ is: "done", result: await sync.done });
}

await carryOut().catch((error: unknown) => say({ is: "failed", error: error instanceof Failure ? error.toBody() : null, message: error instanceof Error ? error.message : String(error) }));
parentPort?.close();
