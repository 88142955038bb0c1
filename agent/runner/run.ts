/** Owns one run: an adapter driving an agent for one task, from `running` to its last word, whatever the agent does. */

import type { EventData } from "../../sdk/protocol/event.ts";
import { RUN_ENDED, type RunError } from "../../sdk/protocol/task.ts";
import type { Adapter, AdapterContext, AdapterOutcome, GatewayAccess } from "../adapters/adapter.ts";
import { encode, type Unstamped } from "./bounds.ts";
import type { Capsules } from "./capsules.ts";
import { RunClock } from "./clock.ts";
import type { Gate } from "./gate.ts";
import type { QuotaWatch } from "./quota.ts";
import type { Journal } from "./journal.ts";
import type { TaskStart } from "./journal-line.ts";
import { agentEnvironment, LaunchError, RunProcesses } from "./process.ts";
import type { RunnerSpec } from "./spec.ts";

export interface RunParts {
  spec: RunnerSpec;
  gateway: () => Promise<GatewayAccess | null>;
  journal: Journal;
  gate: Gate;
  adapter: () => Promise<Adapter>;
  /** ISO time of now. */
  stamp: () => string;
  log: (line: string) => void;
  /** Null where the session's files are kept nowhere else. */
  capsules: Capsules | null;
  /** Null where the workspace may have any size. */
  quota?: QuotaWatch | null;
  /** Why the session's trees are not as they should be; null where they are. */
  broken: () => RunError | null;
}

type RunEnd = EventData<"run.status"> & { status: "completed" | "failed" | "timeout" | "canceled" | "lost" };
export type CancelWhy = "canceled" | "timeout";
/** Why an agent is ended where it stands. */
export type LeaveWhy = "suspended" | "lost";

/** From SIGTERM to SIGKILL, and from SIGKILL until an adapter that does not return is given up. */
const TERM_MS = 2_000;
/** What the system says where there is no room. */
const FULL = new Set(["ENOSPC", "EDQUOT"]);
/** Grace of a timeout that the runner itself notices. */
const TIMEOUT_GRACE_SECONDS = 10;

export class Run {
  readonly start: TaskStart;
  /** Resolves when nothing of the run's processes is left, which may be after its end. */
  gone: Promise<void> = Promise.resolve();
  readonly #parts: RunParts;
  readonly #interrupt = new AbortController();
  readonly #processes: RunProcesses;
  readonly #timers: NodeJS.Timeout[] = [];
  #announced = false;
  #ended = false;
  #why: { why: CancelWhy | LeaveWhy; reason: string } | null = null;
  #clock: RunClock | null = null;
  #giveUp: (() => void) | null = null;
  #fault: RunError | null = null;

  constructor(parts: RunParts, start: TaskStart) {
    const { spec, journal } = parts;
    this.#parts = parts;
    this.start = start;
    this.#processes = new RunProcesses({
      run_id: start.run_id,
      launch: spec.agent ?? { name: spec.agent_name, adapter: "custom", binary: spec.agent_name, args: [], env: {} },
      workspace: spec.workspace,
      env: agentEnvironment(process.env, spec.home, spec.env),
      onStart: (group) => journal.run?.run_id === start.run_id && journal.setRun({ ...journal.run, agents: [...journal.run.agents, group] }),
    });
  }

  /** Runs the task to its end; never rejects. */
  async execute(): Promise<void> {
    const { start } = this;
    const { journal } = this.#parts;
    journal.setRun({ run_id: start.run_id, agents: [], conversation: start.conversation, pending: [] });
    this.#clock = new RunClock(start.timeout_seconds * 1_000, () => this.cancel("timeout", TIMEOUT_GRACE_SECONDS, `it took longer than ${start.timeout_seconds} s`));
    this.#parts.gate.turnBegins(start.carried ?? [], start.grants);
    this.#parts.capsules?.runBegins();
    const unwatch = await this.#parts.quota?.begin((error) => this.fail(error));
    let end: RunEnd;
    try {
      end = this.#judge(this.#refusal() ?? (await this.#drive()));
    } catch (error) {
      end = this.#judge(failed(error instanceof LaunchError ? error.run : { code: "internal", message: `the runner's adapter failed: ${messageOf(error)}` }));
    }
    unwatch?.();
    this.#clock.end();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#processes.signal("SIGKILL");
    this.#end(end);
    this.gone = this.#processes.reap();
  }

  /** Interrupts the agent; after the grace its processes are terminated, then killed, then the run is ended without them. */
  cancel(why: CancelWhy, graceSeconds: number, reason: string): void {
    if (this.#ended || this.#why) return;
    this.#why = { why, reason };
    this.#parts.gate.withdrawAll(why === "timeout" ? "the task has run out of time" : "the task was canceled");
    this.#interrupt.abort();
    this.#after(graceSeconds * 1_000, () => this.#processes.signal("SIGTERM"));
    this.#after(graceSeconds * 1_000 + TERM_MS, () => this.#processes.signal("SIGKILL"));
    this.#after(graceSeconds * 1_000 + 2 * TERM_MS, () => this.#giveUp?.());
  }

  /** Ends the agent where it stands, unasked, so that it or another process of it can go on from there; what it asks goes on waiting. */
  leave(why: LeaveWhy, graceSeconds: number, reason: string): void {
    if (this.#ended || this.#why) return;
    this.#why = { why, reason };
    this.#parts.gate.leave();
    this.#processes.signal("SIGTERM");
    this.#after(graceSeconds * 1_000, () => this.#processes.signal("SIGKILL"));
    // One that is no process of ours has no other way to hear of it.
    if (this.#processes.pid === null) this.#interrupt.abort();
    this.#after(graceSeconds * 1_000 + TERM_MS, () => this.#giveUp?.());
  }

  /** The task's time stands still for this reason, or no more. */
  hold(why: string): void {
    this.#clock?.stop(why);
  }
  goOn(why: string): void {
    this.#clock?.go(why);
  }

  /** The run cannot go on: everything of it is killed, and it ends in these words. */
  fail(error: RunError): void {
    if (this.#ended) return;
    this.#fault ??= error;
    this.#parts.gate.withdrawAll(error.message);
    this.#interrupt.abort();
    this.#processes.signal("SIGKILL");
    this.#after(TERM_MS, () => this.#giveUp?.());
  }

  #after(ms: number, act: () => void): void {
    this.#timers.push(setTimeout(act, ms));
  }

  /** Why this task cannot even begin; null where it can. */
  #refusal(): AdapterOutcome | null {
    const { spec, gate, journal, broken } = this.#parts;
    const fault = broken();
    if (fault) return failed(fault);
    if (spec.agent === null) return failed({ code: "agent_unknown", message: `no agent '${spec.agent_name}' is known on this host`, ...(spec.agent_hint !== undefined && { hint: spec.agent_hint }) });
    if (spec.needs_key) {
      return failed({ code: "key_missing", message: "the session's model key ended with the runner that it was given for", hint: `give it again: PATCH /api/v1/sessions/${spec.session_id} {"api_key": "…"}, or use an agent_config, which stays` });
    }
    if (gate.fault !== null) return failed({ code: "gate_failed", message: `the permission gate cannot start: ${gate.fault}` });
    // There may be room again since.
    if (journal.fault && !journal.flush() && journal.fault) return failed(diskError(journal.fault));
    return null;
  }

  async #drive(): Promise<AdapterOutcome> {
    const { spec, gate } = this.#parts;
    const { launch, task } = { launch: spec.agent, task: this.start };
    if (launch === null) throw new Error("no agent to drive");
    const adapter = await this.#parts.adapter();
    // Loaded when there is something to fetch: most tasks are words.
    const attachments = task.attachments?.length ? await (await import("./attachments.ts")).fetchAttachments(spec, task.attachments, this.#interrupt.signal) : [];
    const context: AdapterContext = {
      task: {
        task_id: task.task_id, run_id: task.run_id, attempt: task.attempt, prompt: task.prompt, conversation: task.conversation, notice: task.notice ?? null, interrupted: task.interrupted ?? false, attachments,
      },
      launch,
      model: spec.model,
      workspace: spec.workspace,
      home: spec.home,
      env: { ...spec.env, ...launch.env },
      gateway: await this.#parts.gateway(),
      interrupt: this.#interrupt.signal,
      emit: (event) => this.#emit(event),
      gate: async (call) => {
        const answer = this.#ended || this.#interrupt.signal.aborted ? { allow: false as const, reason: "the task is being ended" } : await gate.check(call);
        return answer;
      },
      start: (args, env) => {
        if (this.#ended || this.#why || this.#interrupt.signal.aborted) throw new LaunchError({ code: "canceled", message: "the task is being ended" });
        const started = this.#processes.start(args, env);
        this.#announce();
        return started;
      },
      setConversation: (id) => this.#setConversation(id),
    };
    const givenUp = new Promise<AdapterOutcome>((resolve) => {
      this.#giveUp = () => resolve(failed({ code: "agent_failed", message: "the agent did not end" }));
    });
    if (task.notice) void this.#record({ type: "log", data: { stream: "system", text: task.notice } });
    const running = adapter.run(context);
    this.#announce();
    return Promise.race([running, givenUp]);
  }

  /** `running`, once; with the pid where a process was started at once. */
  #announce(): void {
    if (this.#announced) return;
    this.#announced = true;
    const { pid } = this.#processes;
    void this.#record({ type: "run.status", data: { status: "running", ...(pid !== null && { pid }) } });
  }

  async #emit(event: Unstamped): Promise<void> {
    // An adapter that was given up may still talk.
    if (this.#ended) return;
    this.#announce();
    await this.#record(event);
  }

  #record(event: Unstamped): Promise<void> {
    const { journal, spec, stamp } = this.#parts;
    const { task_id, run_id } = this.start;
    let room: Promise<void> = Promise.resolve();
    for (const item of encode(event, stamp(), spec.keep_raw)) room = journal.append({ task_id, run_id }, item);
    return room;
  }

  #setConversation(id: string): void {
    const { journal } = this.#parts;
    if (journal.run?.run_id !== this.start.run_id || journal.run.conversation === id) return;
    journal.setRun({ ...journal.run, conversation: id });
    // At once: whoever goes on after the death of all this needs it.
    this.#announce();
    void this.#record({ type: "run.status", data: { status: "running", conversation: id } });
  }

  #judge(outcome: AdapterOutcome): RunEnd {
    const conversation = outcome.conversation ?? this.#parts.journal.run?.conversation ?? null;
    const { result, exit_code } = outcome;
    if (this.#fault) return { status: "failed", exit_code, result, conversation, error: this.#fault };
    if (this.#why === null) return { ...outcome, conversation };
    const { why, reason } = this.#why;
    const error: RunError = { code: why === "lost" ? "runner_lost" : why, message: reason };
    return { status: why === "suspended" ? "canceled" : why, exit_code, result, conversation, error };
  }

  #end(end: RunEnd): void {
    const { gate, journal } = this.#parts;
    this.#announce();
    gate.turnEnds();
    this.#ended = true;
    void this.#record({ type: "run.status", data: end });
    journal.end(this.start.run_id);
  }
}

/** Ends a run that never began, or that an earlier life of this runner left open; what that one had asked is the session's to give on or to take back. */
export function endUnrun(parts: Pick<RunParts, "journal" | "stamp">, start: Pick<TaskStart, "task_id" | "run_id">, data: EventData<"run.status">): void {
  if (!RUN_ENDED.has(data.status)) throw new Error(`${data.status} is not an end`);
  const { task_id, run_id } = start;
  const at = parts.stamp();
  for (const item of encode({ type: "run.status", data }, at, false)) void parts.journal.append({ task_id, run_id }, item);
  parts.journal.end(run_id);
}

/** The words for a journal that cannot be written. */
export function diskError(fault: Error): RunError {
  const code = "code" in fault && typeof fault.code === "string" ? fault.code : "";
  if (FULL.has(code)) {
    return { code: "disk_full", message: `the disk is full: the runner's journal cannot be written (${fault.message})`, hint: "make room on the host and try again; the journal and the last capsule are as they were" };
  }
  return { code: "internal", message: `the runner's journal cannot be written: ${fault.message}`, hint: `make the runner's state directory writable on the host (${code})` };
}

function failed(error: RunError): AdapterOutcome {
  return { status: "failed", result: null, exit_code: null, conversation: null, error };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
