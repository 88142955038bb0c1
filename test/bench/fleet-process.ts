/** Owns the benches' runners in a process of their own, so that they share no event loop with the database or with what is measured. */

import { fork } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Adapter } from "../../agent/adapters/adapter.ts";
import { startFleet } from "../support/fleet.ts";

/** What the scripted agent does in each task. */
export type Scenario =
  /** `gate_ms`: the first task of each session ends only when `open` is called, one session after the other over so long. */
  | { kind: "sleep"; ms: number; gate_ms: number | null }
  /** Emits `count` log events (or messages) whose JSON is about 200 bytes, at `per_second`, or as fast as it goes. The text holds when it was emitted. */
  | { kind: "emit"; count: number; per_second: number | null; as?: "log" | "message" };

export interface FleetRequest {
  url: string;
  token: string;
  size: number;
  scenario: Scenario;
}

/** One run as the agent saw it: epoch milliseconds with fractions. */
export interface Ran {
  session: string;
  begun: number;
  ended: number;
  gate: boolean;
}
export type FleetReport = { type: "joined" } | { type: "waiting" } | { type: "ran"; ran: Ran } | { type: "failed"; message: string };

export interface FleetProcess {
  readonly ran: Ran[];
  /** Sessions that wait at the gate. */
  readonly waiting: number;
  open(): void;
  close(): void;
}

const clock = () => performance.timeOrigin + performance.now();
/** Fills a log event to about 200 bytes of JSON. */
const FILL = "x".repeat(90);

/** Starts the process and waits until its host has joined. */
export function forkFleet(request: FleetRequest): Promise<FleetProcess> {
  const child = fork(fileURLToPath(import.meta.url), [], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const fleet = { ran: [] as Ran[], waiting: 0, open: () => void child.send("open"), close: () => void child.kill("SIGKILL") };
  child.send(request);
  return new Promise((resolve, reject) => {
    child.on("message", (report: FleetReport) => {
      if (report.type === "joined") resolve(fleet);
      else if (report.type === "failed") reject(new Error(report.message));
      else if (report.type === "waiting") fleet.waiting++;
      else fleet.ran.push(report.ran);
    });
    child.once("exit", (code) => reject(new Error(`the fleet ended: ${code}`)));
  });
}

/** Holds the first task of every session until it is opened. */
class Gate {
  readonly #passed = new Set<string>();
  readonly #opened = Promise.withResolvers<void>();
  open(): void {
    this.#opened.resolve();
  }
  /** True where this was the session's first task. */
  async pass(session: string, spreadMs: number, size: number, waiting: () => void): Promise<boolean> {
    if (this.#passed.has(session)) return false;
    const turn = this.#passed.size;
    this.#passed.add(session);
    waiting();
    await this.#opened.promise;
    await delay((spreadMs * turn) / size);
    return true;
  }
}

function agent({ scenario, size }: FleetRequest, gate: Gate, report: (report: FleetReport) => void): Adapter {
  return {
    name: "custom",
    keyVariables: [],
    continues: () => false,
    stateFiles: () => [],
    async run(context) {
      const begun = clock();
      const session = context.task.task_id.slice(5, 26);
      let held = false;
      if (scenario.kind === "emit") await emitAll(scenario, (text) => context.emit(scenario.as === "message" ? { type: "message", data: { text } } : { type: "log", data: { stream: "stdout", text } }));
      else {
        held = scenario.gate_ms !== null && (await gate.pass(session, scenario.gate_ms, size, () => report({ type: "waiting" })));
        if (!held) await delay(scenario.ms);
      }
      report({ type: "ran", ran: { session, begun, ended: clock(), gate: held } });
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
  const gate = new Gate();
  process.once("message", (request: FleetRequest) => {
    process.on("message", () => gate.open());
    startFleet({ ...request, adapter: agent(request, gate, report) }).then(
      () => report({ type: "joined" }),
      (error: unknown) => report({ type: "failed", message: String(error) }),
    );
  });
  process.once("disconnect", () => process.exit(0));
}
