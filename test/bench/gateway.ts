/** Owns the gateway bench: time to the first token and throughput of parallel streams, through the gateway and straight from the same upstream in the same run. */

import { fork } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { session as sessionSchema, gatewayKey, gatewayToken } from "../../sdk/protocol/index.ts";
import { startSpecHost } from "../support/spec-host.ts";
import { startStack } from "../support/stack.ts";
import type { Pace } from "./gateway-upstream.ts";
import { number, quantile, type Figure } from "./table.ts";

const STREAMS = 200;
const SESSIONS = 20;
/** A model's pace: tokens a second of one stream, and how long its answer is. */
const CALM: Pace = { tokens: 150, gap_ms: 20, wait_ms: 300 };

interface Heard {
  ttft: number[];
  bytes: number;
  seconds: number;
}

interface Target {
  url: string;
  key: (i: number) => string;
}

/** One call: milliseconds to the first token, and the bytes of the answer. */
function call(agent: Agent, { url, key }: Target, i: number, pace: Pace): Promise<{ ttft: number; bytes: number }> {
  return new Promise((resolve, reject) => {
    const begun = performance.now();
    let ttft = 0;
    let bytes = 0;
    const body = JSON.stringify({ model: "claude-sonnet-4-5", max_tokens: 1_000, stream: true, metadata: pace, messages: [{ role: "user", content: "x".repeat(8_000) }] });
    const sent = request(`${url}/v1/messages`, { method: "POST", agent, headers: { "content-type": "application/json", "x-api-key": key(i), "content-length": Buffer.byteLength(body) } }, (answer) => {
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

/** All streams at once, each beginning somewhere within the spread, so that they are in every part of their course. */
async function run(target: Target, pace: Pace, spread_ms: number): Promise<Heard> {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  // Connections and caches are warm on both ways.
  await Promise.all(Array.from({ length: STREAMS }, (_, i) => call(agent, target, i, { tokens: 2, gap_ms: 0, wait_ms: 200 })));
  const begun = performance.now();
  const calls = await Promise.all(Array.from({ length: STREAMS }, async (_, i) => {
    await delay((i * spread_ms) / STREAMS);
    return call(agent, target, i, pace);
  }));
  const seconds = (performance.now() - begun) / 1_000;
  agent.destroy();
  return { ttft: calls.map(({ ttft }) => ttft), bytes: calls.reduce((sum, { bytes }) => sum + bytes, 0), seconds };
}

export async function benchGateway(): Promise<Figure[]> {
  const upstream = fork(new URL("gateway-upstream.ts", import.meta.url), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const [port] = (await once(upstream, "message")) as [number];
  const base = `http://127.0.0.1:${port}`;
  const stack = await startStack({ vars: { MARIONETTE_LOG_LEVEL: "error" } });
  try {
    const { token } = await stack.admin.createRunnerToken(stack.tenantId, "bench");
    const host = await startSpecHost(stack.url, token);
    const keys: string[] = [];
    for (let i = 0; i < SESSIONS; i++) {
      const session = await stack.api.post("/sessions", { agent: "raw", api_key: "sk-ant-bench", base_url: base }, sessionSchema);
      const spec = await host.spec(session.id);
      keys.push(gatewayKey(await gatewayToken(spec.run_token), session.id));
    }
    const direct: Target = { url: base, key: () => "sk-ant-bench" };
    const through: Target = { url: `${stack.url}/gateway/anthropic`, key: (i) => keys[i % SESSIONS] ?? "" };
    const spread = CALM.wait_ms + CALM.tokens * CALM.gap_ms;
    const [raw, ours] = [await run(direct, CALM, spread), await run(through, CALM, spread)];
    const added = quantile(ours.ttft, 0.5) - quantile(raw.ttft, 0.5);
    const rate = (heard: Heard) => heard.bytes / heard.seconds / 1_024;
    const flood: Pace = { tokens: 400, gap_ms: 0, wait_ms: 0 };
    const [rawFlood, ourFlood] = [await run(direct, flood, 0), await run(through, flood, 0)];
    host.close();
    return [
      {
        work: `${STREAMS} parallel streams of ${1_000 / CALM.gap_ms} tokens/s: time to the first token`, result: `p50 ${number(quantile(ours.ttft, 0.5))} ms, p99 ${number(quantile(ours.ttft, 0.99))} ms (added: ${number(added)} ms)`,
        raw: `p50 ${number(quantile(raw.ttft, 0.5))} ms, p99 ${number(quantile(raw.ttft, 0.99))} ms`, ratio: null, goal: "≤ 5 ms added in the median", met: added <= 5,
      },
      { work: `${STREAMS} parallel streams of ${1_000 / CALM.gap_ms} tokens/s: throughput`, result: `${number(rate(ours))} KiB/s`, raw: `${number(rate(raw))} KiB/s (direct)`, ratio: rate(ours) / rate(raw), goal: "≥ 0.8 of direct", met: rate(ours) / rate(raw) >= 0.8 },
      { work: `${STREAMS} parallel streams as fast as they come (no model does), all at once`, result: `${number(rate(ourFlood))} KiB/s`, raw: `${number(rate(rawFlood))} KiB/s (direct)`, ratio: rate(ourFlood) / rate(rawFlood), goal: "– (two cores for all)", met: true },
    ];
  } finally {
    upstream.kill();
    await stack.close();
  }
}
