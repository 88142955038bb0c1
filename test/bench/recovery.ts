/** Owns the recovery bench: SIGKILL for workerd under many sessions, until every link is back and every session has been given its next task. */

import { setTimeout as delay } from "node:timers/promises";
import { session as sessionSchema } from "../../sdk/protocol/index.ts";
import { patientClient } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import { startStack } from "../support/stack.ts";
import { forkFleet } from "./fleet-process.ts";
import { number, quantile, type Figure } from "./table.ts";

const SESSIONS = 50;
const KILLS = 5;
/** Long enough that few tasks fill the bench; a session waits that long at most before it asks for its next one. */
const TASK_MS = 1_000;
const TASKS = 40;
/** So many tasks must every session still have at a kill. */
const LEAST_LEFT = 6;
const GOAL_MS = 5_000;

export async function benchRecovery(): Promise<Figure[]> {
  const stack = await startStack();
  try {
    const { token } = await stack.admin.createRunnerToken(stack.tenantId, "bench");
    const client = patientClient(stack);
    const ids = await Promise.all(Array.from({ length: SESSIONS }, async () => (await stack.api.post("/sessions", { agent: "scripted", keep_raw: false }, sessionSchema)).id));
    // Enough to do for all of the bench, so that a session that is not given its next task stands out; all of it before there is a host, else a slow machine has done most of it before the first kill.
    await Promise.all(ids.map(async (id) => {
      for (let i = 0; i < TASKS; i++) await client.tasks.create(id, { prompt: "sleep" });
    }));
    const fleet = await forkFleet({ url: stack.url, token, size: SESSIONS, scenario: { kind: "sleep", ms: TASK_MS, gate_ms: null } });
    const left = () => Math.min(...ids.map((id) => TASKS - fleet.ran.filter(({ session }) => id.endsWith(session)).length));
    await eventually("every session works", () => new Set(fleet.ran.map(({ session }) => session)).size === SESSIONS, 60_000);
    const back: number[] = [];
    const bare: number[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      await delay(1_000);
      if (left() < LEAST_LEFT) break;
      const clock = () => performance.timeOrigin + performance.now();
      const at = clock();
      await stack.controlPlane.kill();
      const served = clock();
      bare.push(served - at);
      // A run that begins when the new workerd serves was dispatched by it, over the runner's new link.
      await eventually("every session has begun its next task", () => new Set(fleet.ran.filter(({ begun }) => begun > served).map(({ session }) => session)).size === SESSIONS, 60_000);
      const first = new Map<string, number>();
      for (const { session, begun } of fleet.ran) if (begun > served && !first.has(session)) first.set(session, begun);
      back.push(Math.max(...first.values()) - at);
    }
    fleet.close();
    const worst = Math.max(...back);
    return [{
      work: `kill -9 of workerd under ${SESSIONS} sessions: all links back and dispatching (${back.length} times)`, result: `p50 ${number(quantile(back, 0.5))} ms, max ${number(worst)} ms`,
      raw: `${number(quantile(bare, 0.5))} ms (workerd alone, until it serves)`, ratio: null, goal: "≤ 5,000 ms", met: worst <= GOAL_MS,
    }];
  } finally {
    await stack.close();
  }
}
