/** Owns the callers of the gateway bench, in a process of their own: all streams at once, what each heard and when. */

import { fork } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Pace } from "./gateway-upstream.ts";

export interface Target {
  url: string;
  /** Of its sessions; the streams take them in turn. */
  keys: readonly string[];
}

export interface Heard {
  /** Milliseconds to the first token, a stream. */
  ttft: number[];
  bytes: number;
  seconds: number;
}

interface Order {
  target: Target;
  streams: number;
  pace: Pace;
  /** The streams begin within so long, so that they are in every part of their course. */
  spread_ms: number;
}

export interface Callers {
  run(order: Order): Promise<Heard>;
  close(): void;
}

export function forkCallers(): Callers {
  const child = fork(fileURLToPath(import.meta.url), [], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  return {
    async run(order) {
      child.send(order);
      const [heard] = (await once(child, "message")) as [Heard];
      return heard;
    },
    close: () => void child.kill(),
  };
}

/** One call: milliseconds to the first token, and the bytes of the answer. */
function call(agent: Agent, { url, keys }: Target, i: number, pace: Pace): Promise<{ ttft: number; bytes: number }> {
  return new Promise((resolve, reject) => {
    const begun = performance.now();
    let ttft = 0;
    let bytes = 0;
    const body = JSON.stringify({ model: "claude-sonnet-4-5", max_tokens: 1_000, stream: true, metadata: pace, messages: [{ role: "user", content: "x".repeat(8_000) }] });
    const headers = { "content-type": "application/json", "x-api-key": keys[i % keys.length] ?? "", "content-length": Buffer.byteLength(body) };
    const sent = request(`${url}/v1/messages`, { method: "POST", agent, headers }, (answer) => {
      if (answer.statusCode !== 200) answer.once("data", (said: Buffer) => reject(new Error(`status ${answer.statusCode}: ${said.toString()}`)));
      answer.on("data", (piece: Buffer) => {
        if (ttft === 0) ttft = performance.now() - begun;
        bytes += piece.length;
      });
      answer.on("end", () => resolve({ ttft, bytes }));
      answer.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

async function run({ target, streams, pace, spread_ms }: Order): Promise<Heard> {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  // Connections and caches are warm on every way.
  await Promise.all(Array.from({ length: streams }, (_, i) => call(agent, target, i, { tokens: 2, gap_ms: 0, wait_ms: 200 })));
  const begun = performance.now();
  const calls = await Promise.all(Array.from({ length: streams }, async (_, i) => {
    await delay((i * spread_ms) / streams);
    return call(agent, target, i, pace);
  }));
  const seconds = (performance.now() - begun) / 1_000;
  agent.destroy();
  return { ttft: calls.map(({ ttft }) => ttft), bytes: calls.reduce((sum, { bytes }) => sum + bytes, 0), seconds };
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.send) {
  process.on("message", (order: Order) => void run(order).then((heard) => process.send?.(heard)));
  process.once("disconnect", () => process.exit(0));
}
