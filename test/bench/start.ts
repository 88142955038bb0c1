/** Owns the start bench: from the request that creates a session with a task to the agent's process, with the `process` provider. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { session as sessionSchema, task as taskSchema, eventPage } from "../../sdk/protocol/index.ts";
import * as z from "zod";
import { eventually } from "../support/eventually.ts";
import { startStack } from "../support/stack.ts";
import { number, quantile, type Figure } from "./table.ts";

const TIMES = 20;

export async function benchStart(): Promise<Figure[]> {
  const stack = await startStack();
  try {
    const config = join(stack.dir, "bench.yaml");
    await writeFile(config, 'providers:\n  default: process\nagents:\n  custom:\n    clock: { binary: /bin/date, args: ["+%s.%N"] }\n');
    await stack.host({ args: ["--config", config] });
    const raw: number[] = [];
    for (let i = 0; i < TIMES; i++) {
      const begun = performance.now();
      await once(spawn("/bin/date", ["+%s.%N"], { stdio: "ignore" }), "exit");
      raw.push(performance.now() - begun);
    }
    const waits: number[] = [];
    for (let i = 0; i < TIMES; i++) {
      // A warm sandbox is made ready again after each use.
      await delay(1_500);
      const begun = performance.timeOrigin + performance.now();
      const { id } = await stack.api.post("/sessions", { agent: "clock" }, sessionSchema);
      const task = await stack.api.post(`/sessions/${id}/tasks`, { prompt: "now" }, taskSchema);
      const ended = await eventually("the task has ended", async () => {
        const now = await stack.api.get(`/tasks/${task.id}`, taskSchema);
        return now.ended_at === null ? null : now;
      });
      if (ended.status !== "completed") throw new Error(JSON.stringify(ended.error));
      const { events } = await stack.api.get(`/tasks/${task.id}/logs?types=log&stream=stdout`, eventPage);
      const [first] = events;
      const said = Number(z.object({ text: z.string() }).parse(first?.data).text.trim()) * 1_000;
      waits.push(said - begun);
      await stack.api.request("DELETE", `/sessions/${id}`);
    }
    const p50 = quantile(waits, 0.5);
    return [{
      work: "session create (and its first task) to the agent's process running", result: `p50 ${number(p50)} ms, p99 ${number(quantile(waits, 0.99))} ms`, raw: `${number(quantile(raw, 0.5))} ms (spawning the program)`,
      ratio: null, goal: "≤ 150 ms", met: p50 <= 150,
    }];
  } finally {
    await stack.close();
  }
}
