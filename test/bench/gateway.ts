/** Owns the gateway bench: time to the first token and throughput of parallel streams, straight from upstream, through a worker that does nothing else, and through the gateway. */

import { fork } from "node:child_process";
import { once } from "node:events";
import { session as sessionSchema, gatewayKey, gatewayToken } from "../../sdk/protocol/index.ts";
import { startSpecHost } from "../support/spec-host.ts";
import { startStack } from "../support/stack.ts";
import { startBareProxy } from "./bare.ts";
import { forkCallers, type Heard, type Target } from "./gateway-caller.ts";
import type { Pace } from "./gateway-upstream.ts";
import { number, quantile, type Figure } from "./table.ts";

const STREAMS = 200;
const SESSIONS = 20;
/** Each way is measured so often, in turn, so that what else the machine does falls on all of them. */
const ROUNDS = 3;
/** A model's pace: tokens a second of one stream, and how long its answer is. */
const CALM: Pace = { tokens: 150, gap_ms: 20, wait_ms: 300 };
/** As fast as it is taken: no model does that. */
const FLOOD: Pace = { tokens: 400, gap_ms: 0, wait_ms: 0 };

function together(heard: readonly Heard[]): Heard {
  const sum = (of: (each: Heard) => number) => heard.reduce((total, each) => total + of(each), 0);
  return { ttft: heard.flatMap(({ ttft }) => ttft), bytes: sum(({ bytes }) => bytes), seconds: sum(({ seconds }) => seconds) };
}
const rate = (heard: Heard) => heard.bytes / heard.seconds / 1_024;
const spoken = ({ ttft }: Heard) => `p50 ${number(quantile(ttft, 0.5))} ms, p99 ${number(quantile(ttft, 0.99))} ms`;

export async function benchGateway(): Promise<Figure[]> {
  const upstream = fork(new URL("gateway-upstream.ts", import.meta.url), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const [port] = (await once(upstream, "message")) as [number];
  const base = `http://127.0.0.1:${port}`;
  const callers = forkCallers();
  const [stack, proxy] = [await startStack({ vars: { MARIONETTE_LOG_LEVEL: "error" } }), await startBareProxy(base)];
  try {
    const { token } = await stack.admin.createRunnerToken(stack.tenantId, "bench");
    const host = await startSpecHost(stack.url, token);
    const keys: string[] = [];
    for (let i = 0; i < SESSIONS; i++) {
      const session = await stack.api.post("/sessions", { agent: "raw", api_key: "sk-ant-bench", base_url: base }, sessionSchema);
      const spec = await host.spec(session.id);
      keys.push(gatewayKey(await gatewayToken(spec.run_token), session.id));
    }
    const targets = { direct: { url: base, keys: ["sk-ant-bench"] }, bare: { url: proxy.url, keys: ["sk-ant-bench"] }, ours: { url: `${stack.url}/gateway/anthropic`, keys } } satisfies Record<string, Target>;
    const measure = async (pace: Pace, spread_ms: number, rounds: number) => {
      const heard = { direct: [] as Heard[], bare: [] as Heard[], ours: [] as Heard[] };
      for (let round = 0; round < rounds; round++) for (const name of ["direct", "bare", "ours"] as const) heard[name].push(await callers.run({ target: targets[name], streams: STREAMS, pace, spread_ms }));
      return { direct: together(heard.direct), bare: together(heard.bare), ours: together(heard.ours) };
    };
    const { direct, bare, ours } = await measure(CALM, CALM.wait_ms + CALM.tokens * CALM.gap_ms, ROUNDS);
    const flood = await measure(FLOOD, 0, 1);
    host.close();
    const added = quantile(ours.ttft, 0.5) - quantile(direct.ttft, 0.5);
    const ratio = rate(ours) / rate(direct);
    const what = `${STREAMS} parallel streams of ${1_000 / CALM.gap_ms} tokens/s`;
    return [
      { work: `${what}: time to the first token`, result: `${spoken(ours)} (added: ${number(added)} ms)`, raw: `${spoken(direct)} (direct)`, ratio: null, goal: "≤ 5 ms added in the median", met: added <= 5 },
      { work: "– the same through a worker that only passes on", result: `${spoken(bare)} (added: ${number(quantile(bare.ttft, 0.5) - quantile(direct.ttft, 0.5))} ms)`, raw: `${spoken(direct)} (direct)`, ratio: null, goal: "– (what workerd itself adds)", met: true },
      { work: `${what}: throughput`, result: `${number(rate(ours))} KiB/s`, raw: `${number(rate(direct))} KiB/s (direct), ${number(rate(bare))} (bare worker)`, ratio, goal: "≥ 0.8 of direct", met: ratio >= 0.8 },
      {
        work: `${STREAMS} parallel streams as fast as they come (no model does), all at once`, result: `${number(rate(flood.ours))} KiB/s`, raw: `${number(rate(flood.direct))} KiB/s (direct), ${number(rate(flood.bare))} (bare worker)`,
        ratio: rate(flood.ours) / rate(flood.direct), goal: "– (callers, upstream and workerd share the cores)", met: true,
      },
    ];
  } finally {
    callers.close();
    upstream.kill();
    await proxy.close();
    await stack.close();
  }
}
