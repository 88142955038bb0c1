/** Owns the idle bench: sessions with runner and viewer attached leave memory, keep their sockets, and wake at the next message. */

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { session as sessionSchema, task as taskSchema } from "../../sdk/protocol/index.ts";
import { eventually } from "../support/eventually.ts";
import { startStack } from "../support/stack.ts";
import { forkFleet } from "./fleet-process.ts";
import { number, quantile, type Figure } from "./table.ts";

const SESSIONS = 1_000;
/** workerd evicts an object 10 s after its last event. */
const IDLE_MS = 16_000;

async function memoryOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1_024;
}

export async function benchIdle(): Promise<Figure[]> {
  // The worker logs each construction of an object that holds a session, at this level.
  const stack = await startStack({ vars: { MARIONETTE_LOG_LEVEL: "debug" } });
  try {
    const { token } = await stack.admin.createRunnerToken(stack.tenantId, "bench");
    const fleet = await forkFleet({ url: stack.url, token, size: SESSIONS, scenario: { kind: "sleep", ms: 1, gate_ms: null } });
    const sockets: WebSocket[] = [];
    const ids: string[] = [];
    for (let from = 0; from < SESSIONS; from += 20) {
      const some = await Promise.all(Array.from({ length: 20 }, async () => (await stack.api.post("/sessions", { agent: "scripted" }, sessionSchema)).id));
      ids.push(...some);
      await Promise.all(some.map(async (id) => {
        const socket = new WebSocket(`${stack.url.replace(/^http/, "ws")}/api/v1/sessions/${id}/events?types=task.status`, { headers: { authorization: `Bearer ${stack.apiKey}` }, perMessageDeflate: false });
        sockets.push(socket);
        await once(socket, "open");
      }));
    }
    await eventually("every session has its runner", async () => (await Promise.all(ids.map((id) => stack.api.get(`/sessions/${id}`, sessionSchema)))).every(({ runner }) => runner?.state === "connected"), 120_000);
    await delay(IDLE_MS);
    const pid = stack.controlPlane.pid;
    const idle = pid === null ? Number.NaN : await memoryOf(pid);
    const constructed = () => stack.log.filter((line) => line.includes("session.woken")).length;
    const before = constructed();
    const waits: number[] = [];
    for (let from = 0; from < SESSIONS; from += 10) {
      await Promise.all(ids.slice(from, from + 10).map(async (id) => {
        const begun = performance.now();
        await stack.api.post(`/sessions/${id}/tasks`, { prompt: "wake" }, taskSchema);
        waits.push(performance.now() - begun);
      }));
    }
    await eventually("every task ran", () => fleet.ran.length === SESSIONS, 120_000);
    const woken = constructed() - before;
    const open = sockets.filter(({ readyState }) => readyState === WebSocket.OPEN).length;
    fleet.close();
    for (const socket of sockets) socket.terminate();
    return [
      {
        work: `${SESSIONS} idle sessions with runner and viewer: objects evicted, and built anew by the next message`, result: `${woken} evicted, ${open} viewers and ${fleet.ran.length} runners still connected, ${number(idle)} MB`,
        raw: `${SESSIONS}`, ratio: woken / SESSIONS, goal: "all", met: woken === SESSIONS && open === SESSIONS,
      },
      { work: "waking one of them with a task (10 at a time)", result: `p50 ${number(quantile(waits, 0.5))} ms, p99 ${number(quantile(waits, 0.99))} ms`, raw: "–", ratio: null, goal: "–", met: true },
    ];
  } finally {
    await stack.close();
  }
}
