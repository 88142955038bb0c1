/** Owns the dispatch bench: sessions with queued tasks of a fixed length, and how long a free runner waits for its next task. */

import { setTimeout as delay } from "node:timers/promises";
import { session as sessionSchema, task as taskSchema } from "../../sdk/protocol/index.ts";
import { eventually } from "../support/eventually.ts";
import { startStack, type Stack } from "../support/stack.ts";
import { forkFleet, type Ran } from "./fleet-process.ts";
import { number, quantile, type Figure } from "./table.ts";

const TASK_MS = 200;
const REST_MS = 2_000;

interface Shape {
  runners: number;
  sessions: number;
  tasks: number;
  /** Over how long the runners begin, once all of them are there; null: each begins as it comes. */
  gate_ms: number | null;
  goal: number;
}

/**
 * Runs the tasks; the sessions and their tasks are there before the first runner. With a gate, so are the runners: each holds a task of its own
 * until the gate opens, so that only dispatching is measured.
 */
async function wave(stack: Stack, { runners, sessions, tasks, gate_ms }: Shape): Promise<Ran[]> {
  const ids = await Promise.all(Array.from({ length: sessions }, async () => (await stack.api.post("/sessions", { agent: "scripted", keep_raw: false }, sessionSchema)).id));
  const each = tasks / sessions + (gate_ms === null ? 0 : 1);
  for (let i = 0; i < each; i++) await Promise.all(ids.map((id) => stack.api.post(`/sessions/${id}/tasks`, { prompt: "work" }, taskSchema)));
  const { token } = await stack.admin.createRunnerToken(stack.tenantId, "bench");
  const fleet = await forkFleet({ url: stack.url, token, size: runners, scenario: { kind: "sleep", ms: TASK_MS, gate_ms } });
  try {
    if (gate_ms !== null) {
      await eventually("every runner waits at the gate", () => fleet.waiting === sessions, 120_000);
      // What attaching them has begun comes to rest.
      await delay(REST_MS);
      fleet.open();
    }
    await eventually("every task is done", () => fleet.ran.length === each * sessions, 120_000);
    for (const id of ids) await stack.api.request("DELETE", `/sessions/${id}`);
    return fleet.ran;
  } finally {
    fleet.close();
  }
}

/** The second of two waves: a server that has just started has not compiled its code yet. */
async function measure(shape: Shape): Promise<Ran[]> {
  const stack = await startStack();
  try {
    await wave(stack, shape);
    return await wave(stack, shape);
  } finally {
    await stack.close();
  }
}

/** From the end of each task to the start of its session's next one, in milliseconds. */
function gapsOf(ran: readonly Ran[]): number[] {
  const last = new Map<string, number>();
  const gaps: number[] = [];
  for (const { session, begun, ended } of [...ran].sort((a, b) => a.begun - b.begun)) {
    const before = last.get(session);
    if (before !== undefined) gaps.push(begun - before);
    last.set(session, ended);
  }
  return gaps;
}

/** Tasks a second: from each session's gate to its last task, times the sessions; without a gate, from the first task to the last of all. */
function rateOf(ran: readonly Ran[], { sessions, tasks, gate_ms }: Shape): number {
  const last = (some: readonly Ran[]) => Math.max(...some.map(({ ended }) => ended));
  if (gate_ms === null) return tasks / ((last(ran) - Math.min(...ran.map(({ begun }) => begun))) / 1_000);
  const spans = ran.filter(({ gate }) => gate).map(({ session, ended }) => last(ran.filter((one) => one.session === session)) - ended);
  return tasks / (spans.reduce((sum, span) => sum + span, 0) / sessions / 1_000);
}

/** 50 runners for 50 sessions, beginning at times of their own and all in the same instant; then 10 runners for 50 sessions. */
export async function benchDispatch(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const shape of [
    { runners: 50, sessions: 50, tasks: 200, gate_ms: TASK_MS, goal: 237 },
    { runners: 50, sessions: 50, tasks: 200, gate_ms: 0, goal: 237 },
    { runners: 10, sessions: 50, tasks: 200, gate_ms: null, goal: 47 },
  ]) {
    const ran = await measure(shape);
    const rate = rateOf(ran, shape);
    const possible = shape.runners / (TASK_MS / 1_000);
    const late = quantile(ran.filter(({ gate }) => !gate).map(({ begun, ended }) => ended - begun - TASK_MS), 0.5);
    const start = shape.gate_ms === null ? "taking turns" : shape.gate_ms > 0 ? "each at its own time" : "all in the same instant";
    figures.push({
      work: `${shape.runners} runners, ${shape.sessions} sessions, ${shape.tasks} tasks of ${TASK_MS} ms, ${start}`, result: `${number(rate)} tasks/s`,
      raw: `${number(possible)} tasks/s (its timers end ${number(late)} ms late)`, ratio: rate / possible, goal: `≥ ${shape.goal} tasks/s`, met: rate >= shape.goal,
    });
    if (shape.gate_ms === null) continue;
    const gaps = gapsOf(ran);
    const [p50, p99] = [quantile(gaps, 0.5), quantile(gaps, 0.99)];
    figures.push({
      work: `… from a task's end to the next one's start (${gaps.length} times)`, result: `p50 ${number(p50)} ms, p99 ${number(p99)} ms`, raw: "–", ratio: null,
      goal: "p50 ≤ 10 ms, p99 ≤ 60 ms", met: p50 <= 10 && p99 <= 60,
    });
  }
  return figures;
}
