/** Owns the dispatch bench: sessions with queued tasks of a fixed length, and how long a free runner waits for its next task. */

import { session as sessionSchema, task as taskSchema } from "../../sdk/protocol/index.ts";
import { eventually } from "../support/eventually.ts";
import { startStack, type Stack } from "../support/stack.ts";
import { forkFleet, type Ran } from "./fleet-process.ts";
import { number, quantile, type Figure } from "./table.ts";

const TASK_MS = 200;

interface Shape {
  runners: number;
  sessions: number;
  tasks: number;
  /** Over how long the runners come up. */
  spread_ms: number;
  goal: number;
}

/** Runs the tasks; the sessions and their tasks are there before the first runner, so that only dispatching is measured. */
async function wave(stack: Stack, { runners, sessions, tasks, spread_ms }: Shape): Promise<Ran[]> {
  const ids = await Promise.all(Array.from({ length: sessions }, async () => (await stack.api.post("/sessions", { agent: "scripted", keep_raw: false }, sessionSchema)).id));
  for (let i = 0; i < tasks / sessions; i++) await Promise.all(ids.map((id) => stack.api.post(`/sessions/${id}/tasks`, { prompt: "work" }, taskSchema)));
  const { token } = await stack.admin.createRunnerToken(stack.tenantId, "bench");
  const fleet = await forkFleet({ url: stack.url, token, size: runners, spread_ms, scenario: { kind: "sleep", ms: TASK_MS } });
  try {
    await eventually("every task is done", () => fleet.ran.length === tasks, 120_000);
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

/** Tasks a second while all runners are at work: each session's own rate, from its first task to its last, times the runners. */
function rateOf(ran: readonly Ran[], { runners, sessions, tasks, spread_ms }: Shape): number {
  const begun = Math.min(...ran.map((one) => one.begun));
  const ended = Math.max(...ran.map((one) => one.ended));
  if (spread_ms === 0) return tasks / ((ended - begun) / 1_000);
  const spans = new Map<string, { begun: number; ended: number }>();
  for (const one of ran) {
    const span = spans.get(one.session);
    spans.set(one.session, { begun: Math.min(one.begun, span?.begun ?? one.begun), ended: Math.max(one.ended, span?.ended ?? one.ended) });
  }
  const busy = [...spans.values()].reduce((sum, span) => sum + span.ended - span.begun, 0) / sessions;
  return (tasks / sessions) * runners / (busy / 1_000);
}

/** 50 runners for 50 sessions, coming up one by one and all in the same instant; then 10 runners for 50 sessions. */
export async function benchDispatch(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const shape of [
    { runners: 50, sessions: 50, tasks: 200, spread_ms: TASK_MS, goal: 237 },
    { runners: 50, sessions: 50, tasks: 200, spread_ms: 0, goal: 237 },
    { runners: 10, sessions: 50, tasks: 200, spread_ms: 0, goal: 47 },
  ]) {
    const ran = await measure(shape);
    const rate = rateOf(ran, shape);
    const possible = shape.runners / (TASK_MS / 1_000);
    const late = quantile(ran.map(({ begun, ended }) => ended - begun - TASK_MS), 0.5);
    const start = shape.spread_ms > 0 ? `starting within ${shape.spread_ms} ms` : shape.runners === shape.sessions ? "all in lockstep" : "taking turns";
    figures.push({
      work: `${shape.runners} runners, ${shape.sessions} sessions, ${shape.tasks} tasks of ${TASK_MS} ms, ${start}`, result: `${number(rate)} tasks/s`,
      raw: `${number(possible)} tasks/s (its timers end ${number(late)} ms late)`, ratio: rate / possible, goal: `≥ ${shape.goal} tasks/s`, met: rate >= shape.goal,
    });
    if (shape.runners !== shape.sessions) continue;
    const gaps = gapsOf(ran);
    const [p50, p99] = [quantile(gaps, 0.5), quantile(gaps, 0.99)];
    figures.push({
      work: `… from a task's end to the next one's start (${gaps.length} times)`, result: `p50 ${number(p50)} ms, p99 ${number(p99)} ms`, raw: "–", ratio: null,
      goal: "p50 ≤ 10 ms, p99 ≤ 60 ms", met: p50 <= 10 && p99 <= 60,
    });
  }
  return figures;
}
