/** Owns the benches' runners in a process of their own, so that they share no event loop with the database or with what is measured. */

import { fork } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Adapter } from "../../agent/adapters/adapter.ts";
import { startFleet } from "../support/fleet.ts";

/** What the scripted agent does in each task. */
export type Scenario =
  | { kind: "sleep"; ms: number }
  /** Emits `count` log events whose JSON is about 200 bytes, at `per_second`, or as fast as it goes. The text holds when it was emitted. */
  | { kind: "emit"; count: number; per_second: number | null };

export interface FleetRequest {
  url: string;
  token: string;
  size: number;
  scenario: Scenario;
  spread_ms?: number;
}

/** One run as the agent saw it: epoch milliseconds with fractions. */
export interface Ran {
  session: string;
  begun: number;
  ended: number;
}
export type FleetReport = { type: "joined" } | { type: "ran"; ran: Ran } | { type: "failed"; message: string };

export interface FleetProcess {
  readonly ran: Ran[];
  close(): void;
}

const clock = () => performance.timeOrigin + performance.now();
/** Fills a log event to about 200 bytes of JSON. */
const FILL = "x".repeat(90);

/** Starts the process and waits until its host has joined. */
export function forkFleet(request: FleetRequest): Promise<FleetProcess> {
  const child = fork(fileURLToPath(import.meta.url), [], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const fleet: FleetProcess = { ran: [], close: () => child.kill("SIGKILL") };
  child.send(request);
  return new Promise((resolve, reject) => {
    child.on("message", (report: FleetReport) => {
      if (report.type === "joined") resolve(fleet);
      else if (report.type === "failed") reject(new Error(report.message));
      else fleet.ran.push(report.ran);
    });
    child.once("exit", (code) => reject(new Error(`the fleet ended: ${code}`)));
  });
}

function agent(scenario: Scenario, report: (report: FleetReport) => void): Adapter {
  return {
    name: "custom",
    keyVariables: [],
    async run(context) {
      const begun = clock();
      if (scenario.kind === "sleep") await delay(scenario.ms);
      else await emitAll(scenario, (text) => context.emit({ type: "log", data: { stream: "stdout", text } }));
      report({ type: "ran", ran: { session: context.task.task_id.slice(5, 26), begun, ended: clock() } });
      return { status: "completed", result: null, exit_code: 0, conversation: null };
    },
  };
}

async function emitAll({ count, per_second }: Extract<Scenario, { kind: "emit" }>, emit: (text: string) => Promise<void>): Promise<void> {
  if (per_second === null) {
    for (let i = 0; i < count; i++) await emit(`${clock()} ${FILL}`);
    return;
  }
  const start = clock();
  for (let sent = 0; sent < count; ) {
    const due = Math.min(count, Math.floor(((clock() - start) / 1_000) * per_second));
    for (; sent < due; sent++) await emit(`${clock()} ${FILL}`);
    await delay(1);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.send) {
  const report = (message: FleetReport) => void process.send?.(message);
  process.once("message", (request: FleetRequest) => {
    startFleet({ ...request, adapter: agent(request.scenario, report) }).then(
      () => report({ type: "joined" }),
      (error: unknown) => report({ type: "failed", message: String(error) }),
    );
  });
  process.once("disconnect", () => process.exit(0));
}
