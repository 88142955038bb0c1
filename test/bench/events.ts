/** Owns the event benches: one runner's events through its session, stored, to its viewers; how many, and how late. */

import { once } from "node:events";
import { WebSocket } from "ws";
import { session as sessionSchema, task as taskSchema, viewerFrame } from "../../sdk/protocol/index.ts";
import { eventually } from "../support/eventually.ts";
import { startStack, type Stack } from "../support/stack.ts";
import { startBare } from "./bare.ts";
import { forkSender } from "./bare-sender.ts";
import { forkFleet, type Scenario } from "./fleet-process.ts";
import { number, quantile, type Figure } from "./table.ts";

const MASS = 600_000;
const FRAME = 500;

interface Seen {
  events: number;
  chars: number;
  first: number;
  last: number;
  /** Milliseconds from emission to arrival; only of events that say when. */
  late: number[];
}

const clock = () => performance.timeOrigin + performance.now();

/** Counts what arrives; with `timed`, reads each event's own time. `flow`: acknowledges it. */
function watch(socket: WebSocket, timed: boolean, flow: boolean): Seen {
  const seen: Seen = { events: 0, chars: 0, first: 0, last: 0, late: [] };
  socket.on("message", (data: Buffer) => {
    const text = data.toString();
    const frame = JSON.parse(text) as { type: string; from: number; items?: { type: string; data: { text?: string } }[] };
    if (frame.type !== "events" || !frame.items) return;
    if (flow) socket.send(JSON.stringify({ type: "ack", seq: frame.from + frame.items.length - 1 }));
    const now = clock();
    if (seen.events === 0) seen.first = now;
    seen.last = now;
    seen.chars += text.length;
    for (const item of frame.items) {
      if (item.type !== "log") continue;
      seen.events++;
      if (timed) seen.late.push(now - Number(item.data.text?.split(" ", 1)[0]));
    }
  });
  return seen;
}

const rateOf = ({ events, first, last }: Seen) => events / ((last - first) / 1_000);

async function bareMass(): Promise<number> {
  const bare = await startBare();
  try {
    const viewer = new WebSocket(bare.socket("mass", "viewer"), { perMessageDeflate: false });
    await once(viewer, "open");
    const seen = watch(viewer, false, false);
    forkSender({ url: bare.socket("mass", "runner"), count: MASS, frame: FRAME });
    await eventually("the bare object has passed all on", () => seen.events === MASS, 120_000);
    viewer.close();
    return rateOf(seen);
  } finally {
    await bare.close();
  }
}

/** Runs one emitting task with viewers attached from its start, and waits until each of them has all. */
async function through(stack: Stack, scenario: Extract<Scenario, { kind: "emit" }>, viewers: number, timed: boolean): Promise<Seen[]> {
  const { id } = await stack.api.post("/sessions", { agent: "scripted", keep_raw: false }, sessionSchema);
  const seen: Seen[] = [];
  for (let i = 0; i < viewers; i++) {
    const socket = new WebSocket(`${stack.url.replace(/^http/, "ws")}/api/v1/sessions/${id}/events?flow=1`, { headers: { authorization: `Bearer ${stack.apiKey}` }, perMessageDeflate: false });
    socket.once("message", (data: Buffer) => viewerFrame.parse(JSON.parse(data.toString())));
    await once(socket, "open");
    seen.push(watch(socket, timed, true));
  }
  const { token } = await stack.admin.createRunnerToken(stack.tenantId, "bench");
  const fleet = await forkFleet({ url: stack.url, token, size: 1, scenario });
  try {
    await stack.api.post(`/sessions/${id}/tasks`, { prompt: "emit" }, taskSchema);
    await eventually("every viewer has every event", () => seen.every(({ events }) => events === scenario.count), 180_000);
  } finally {
    fleet.close();
  }
  return seen;
}

async function withStack<T>(work: (stack: Stack) => Promise<T>): Promise<T> {
  const stack = await startStack();
  try {
    return await work(stack);
  } finally {
    await stack.close();
  }
}

export async function benchEvents(): Promise<Figure[]> {
  const bare = await bareMass();
  const mass = (await withStack((stack) => through(stack, { kind: "emit", count: MASS, per_second: null }, 1, false)))[0];
  const rate = mass ? rateOf(mass) : 0;
  const size = mass ? mass.chars / mass.events : 0;

  const calm = await withStack((stack) => through(stack, { kind: "emit", count: 5_000, per_second: 500 }, 1, true));
  const late = calm.flatMap((seen) => seen.late.slice(250));
  const p99 = quantile(late, 0.99);

  const VIEWERS = 100;
  const fan = await withStack((stack) => through(stack, { kind: "emit", count: 50_000, per_second: 5_000 }, VIEWERS, false));
  const slowest = Math.min(...fan.map(rateOf));

  return [
    { work: `events of ${number(size)} bytes, runner → session (durable) → viewer`, result: `${number(rate)}/s`, raw: `${number(bare)}/s (bare object)`, ratio: rate / bare, goal: "≥ 100,000/s and ≥ 0.5 of bare", met: rate >= 100_000 && rate / bare >= 0.5 },
    { work: "500 events/s: from the agent to the viewer", result: `p50 ${number(quantile(late, 0.5))} ms, p99 ${number(p99)} ms`, raw: "–", ratio: null, goal: "p99 ≤ 10 ms", met: p99 <= 10 },
    { work: `${VIEWERS} viewers of one session at 5,000 events/s`, result: `${number(slowest)}/s at the slowest`, raw: "5,000/s", ratio: slowest / 5_000, goal: "5,000/s each", met: slowest >= 4_900 },
  ];
}
