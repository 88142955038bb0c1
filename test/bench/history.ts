/** Owns the history bench: a session of a million events, read at its end and in its midst. */

import { eventPage, session as sessionSchema, task as taskSchema } from "../../sdk/protocol/index.ts";
import { eventually } from "../support/eventually.ts";
import { startStack } from "../support/stack.ts";
import { forkFleet } from "./fleet-process.ts";
import { number, quantile, type Figure } from "./table.ts";

const EVENTS = 1_000_000;

export async function benchHistory(): Promise<Figure[]> {
  const stack = await startStack();
  try {
    const { id } = await stack.api.post("/sessions", { agent: "scripted", keep_raw: false }, sessionSchema);
    const { token } = await stack.admin.createRunnerToken(stack.tenantId, "bench");
    const fleet = await forkFleet({ url: stack.url, token, size: 1, scenario: { kind: "emit", count: EVENTS, per_second: null } });
    await stack.api.post(`/sessions/${id}/tasks`, { prompt: "emit" }, taskSchema);
    await eventually("the task has ended", async () => (await stack.api.get(`/sessions/${id}`, sessionSchema)).task_id === null && fleet.ran.length === 1, 300_000);
    fleet.close();
    async function read(query: () => string): Promise<number[]> {
      const waits: number[] = [];
      for (let i = 0; i < 50; i++) {
        const begun = performance.now();
        const { events } = await stack.api.get(`/sessions/${id}/events?${query()}`, eventPage);
        waits.push(performance.now() - begun);
        if (events.length !== 100) throw new Error(`expected 100 events, got ${events.length}`);
      }
      return waits;
    }
    const trivial: number[] = [];
    for (let i = 0; i < 50; i++) {
      const begun = performance.now();
      await (await fetch(`${stack.url}/health/live`)).arrayBuffer();
      trivial.push(performance.now() - begun);
    }
    const raw = `${number(quantile(trivial, 0.5))} ms (an empty request)`;
    const figure = (work: string, waits: number[]): Figure => {
      const worst = quantile(waits, 0.99);
      return { work, result: `p50 ${number(quantile(waits, 0.5))} ms, p99 ${number(worst)} ms`, raw, ratio: null, goal: "≤ 50 ms", met: worst <= 50 };
    };
    return [
      figure(`of ${number(EVENTS)} events: the last 100`, await read(() => "tail=100")),
      figure(`of ${number(EVENTS)} events: 100 after a random one`, await read(() => `after=${Math.floor(Math.random() * (EVENTS - 200))}&limit=100`)),
    ];
  } finally {
    await stack.close();
  }
}
