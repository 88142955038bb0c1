/** Owns the dispatch bench: sessions with queued tasks of a fixed length, and how long a free runner waits for its next task. */

import { session as sessionSchema, task as taskSchema } from "../../sdk/protocol/index.ts";
import { eventually } from "../support/eventually.ts";
import { startStack } from "../support/stack.ts";
import { forkFleet, type Ran } from "./fleet-process.ts";
import { number, quantile, type Figure } from "./table.ts";

const TASK_MS = 200;

interface Shape {
  runners: number;
  sessions: number;
  tasks: number;
  goal: number;
}

/** Runs the tasks; the sessions and their tasks are there before the first runner, so that only dispatching is measured. */
async function measure({ runners, sessions, tasks }: Shape): Promise<Ran[]> {
  const stack = await startStack();
  try {
    const ids = await Promise.all(Array.from({ length: sessions }, async () => (await stack.api.post("/sessions", { agent: "scripted", keep_raw: false }, sessionSchema)).id));
    for (let i = 0; i < tasks / sessions; i++) await Promise.all(ids.map((id) => stack.api.post(`/sessions/${id}/tasks`, { prompt: "work" }, taskSchema)));
    const { token } = await stack.admin.createRunnerToken(stack.tenantId, "bench");
    const fleet = await forkFleet({ url: stack.url, token, size: runners, scenario: { kind: "sleep", ms: TASK_MS } });
    try {
      await eventually("every task is done", () => fleet.ran.length === tasks, 120_000);
      return fleet.ran;
    } finally {
      fleet.close();
    }
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

/** 50 runners for 50 sessions, then 10 runners for 50 sessions. */
export async function benchDispatch(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const shape of [
    { runners: 50, sessions: 50, tasks: 200, goal: 237 },
    { runners: 10, sessions: 50, tasks: 200, goal: 47 },
  ]) {
    const ran = await measure(shape);
    const rate = shape.tasks / ((Math.max(...ran.map(({ ended }) => ended)) - Math.min(...ran.map(({ begun }) => begun))) / 1_000);
    const possible = shape.runners / (TASK_MS / 1_000);
    const late = quantile(ran.map(({ begun, ended }) => ended - begun - TASK_MS), 0.5);
    figures.push({
      work: `${shape.runners} runners, ${shape.sessions} sessions, ${shape.tasks} tasks of ${TASK_MS} ms`, result: `${number(rate)} tasks/s`,
      raw: `${number(possible)} tasks/s (its timers end ${number(late)} ms late)`, ratio: rate / possible, goal: `≥ ${shape.goal} tasks/s`, met: rate >= shape.goal,
    });
    if (shape.runners !== shape.sessions) continue;
    const gaps = gapsOf(ran);
    const [p50, p99] = [quantile(gaps, 0.5), quantile(gaps, 0.99)];
    figures.push({
      work: `from a task's end to the next one's start (${gaps.length} times)`, result: `p50 ${number(p50)} ms, p99 ${number(p99)} ms`, raw: "–", ratio: null,
      goal: "p50 ≤ 10 ms, p99 ≤ 60 ms", met: p50 <= 10 && p99 <= 60,
    });
  }
  return figures;
}
