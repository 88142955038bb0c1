/** Owns the task loop: one run after another, in the order of the commands; recovery of what an earlier life left open. */

import { setTimeout as pause } from "node:timers/promises";
import type { CommandBody } from "../../sdk/protocol/runner-link.ts";
import type { Taken } from "./capsules.ts";
import { killLeftovers } from "./process.ts";
import type { CapsuleOrdered, RunIds, TaskStart } from "./journal-line.ts";
import { diskError, endUnrun, Run, type RunParts } from "./run.ts";

/** Grace of a run that must go because its runner goes. */
const LEAVING_GRACE_SECONDS = 1;
/** Between the capsule and the thaw. */
const FREEZING = "the sandbox is to be frozen";
const ASKING = "a person is asked";

/** The next task waits so long until the last one's files have been read. */
const READ_MS = 10_000;
/** From SIGTERM to SIGKILL of an agent that is suspended. */
const SUSPEND_GRACE_SECONDS = 3;
/** What is still sent when the runner is told to stop, or its host is. */
const SENT_MS = { canceled: 5_000, lost: 1_000 } as const;

export class Tasks {
  readonly #parts: RunParts;
  /** The trees are as they should be, or never will be. */
  #ready = false;
  /** The gate has had its settings. */
  #allowed = false;
  /** The last capsule that was asked for and begun. */
  #lastOrdered: string | null = null;
  /** A capsule that was asked for, while its files are read. */
  #ordered: CapsuleOrdered | null = null;
  #taken: Taken | null = null;
  #last: RunIds | null = null;
  #waiting: TaskStart[] = [];
  #current: Run | null = null;
  #loop: Promise<void> = Promise.resolve();
  #working = false;
  #leaving: string | null = null;
  readonly #left = Promise.withResolvers<void>();
  /** What is left of ended runs and being killed. */
  readonly #going = new Set<Promise<void>>();

  constructor(parts: RunParts) {
    this.#parts = parts;
  }

  get runId(): string | null {
    return this.#current?.start.run_id ?? null;
  }

  /** First thing in a runner's life: kills what its last one left, reports the run as lost, keeps what had not begun. */
  async recover(): Promise<void> {
    const { journal } = this.#parts;
    const { run } = journal;
    if (run) {
      await killLeftovers(run.run_id, run.agents);
      const start = journal.starts.find(({ run_id }) => run_id === run.run_id);
      if (start) {
        const error = { code: "runner_lost" as const, message: "the runner died while the task ran, and was started again" };
        endUnrun(this.#parts, start, { status: "lost", error, conversation: run.conversation });
      } else journal.setRun(null);
    }
    this.#waiting = [...journal.starts];
  }

  /** The trees have been restored, or cannot be. */
  ready(): void {
    this.#ready = true;
    this.#begin();
  }

  /** Begins what waits, once the gate has its settings. */
  resume(): void {
    this.#allowed = true;
    this.#begin();
  }

  /** Begins what waits: a capsule that was asked for, also by an earlier life's session, and the next task. */
  #begin(): void {
    if (!this.#ready || !this.#allowed) return;
    const { capsule } = this.#parts.journal;
    if (capsule && this.#ordered === null && capsule.capsule_id !== this.#lastOrdered) void this.#capsule(capsule);
    if (this.#working || this.#waiting.length === 0) return;
    this.#working = true;
    this.#loop = this.#work().finally(() => {
      this.#working = false;
    });
  }

  handle(body: CommandBody): void {
    switch (body.kind) {
      case "task.start":
        this.#waiting.push(body);
        if (this.#leaving !== null) return this.#refuseWaiting(this.#leaving);
        return this.resume();
      case "task.cancel":
        return this.#cancel(body);
      case "capsule":
        return this.#begin();
      case "permission.answer":
        if (body.run_id === this.runId) this.#parts.gate.answer(body);
        else this.#answerWaiting(body);
        return;
      default:
        return;
    }
  }

  /** The journal cannot be written: what runs would go unrecorded, so it ends. */
  fail(fault: Error): void {
    this.#current?.fail(diskError(fault));
  }

  /** The sandbox was frozen, and goes on. */
  woken(): void {
    this.#current?.goOn(FREEZING);
  }

  /** A person is asked, or no more: the task's time stands still while they think. */
  asking(asked: boolean): void {
    if (asked) this.#current?.hold(ASKING);
    else this.#current?.goOn(ASKING);
  }

  /** Ends what runs and begins nothing more; resolves when nothing runs. */
  async leave(reason: string, why: "canceled" | "lost"): Promise<void> {
    this.#leaving = reason;
    this.#refuseWaiting(reason);
    if (why === "lost") this.#current?.leave(why, LEAVING_GRACE_SECONDS, reason);
    else this.#current?.cancel(why, LEAVING_GRACE_SECONDS, reason);
    this.#left.resolve();
    await this.#loop;
    await Promise.all(this.#going);
    await this.#parts.capsules?.close(SENT_MS[why]);
  }

  async #work(): Promise<void> {
    for (;;) {
      if (this.#taken) await this.#untilRead(this.#taken);
      const start = this.#waiting.shift();
      if (!start) return;
      const run = new Run(this.#parts, start);
      this.#current = run;
      await run.execute();
      this.#current = null;
      this.#last = { task_id: start.task_id, run_id: start.run_id };
      // What has escaped its process group is looked for while the next run begins.
      const gone = run.gone.catch((error: unknown) => this.#parts.log(`what is left of ${start.run_id} cannot be ended: ${String(error)}`)).finally(() => this.#going.delete(gone));
      this.#going.add(gone);
      // The end of a run that makes way for a suspension has that one's capsule.
      if (this.#parts.capsules && this.#ordered?.why !== "suspend") await this.#taskEnded(Promise.all([gone, this.#taken?.read]));
    }
  }

  /** The next task's agent would change what the last one left: it waits until that has been read, but not for ever. */
  async #taskEnded(after: Promise<unknown>): Promise<void> {
    const taken = this.#parts.capsules?.take({ why: "task_end", of: this.#last, after });
    if (taken) await this.#untilRead(taken);
  }

  async #untilRead({ read, tear }: Taken): Promise<void> {
    const late = new AbortController();
    const tooLate = pause(READ_MS, true, { signal: late.signal, ref: false }).catch(() => false);
    if (await Promise.race([read.then(() => false), this.#left.promise.then(() => false), tooLate])) tear();
    late.abort();
  }

  /** Takes the capsule that the session asks for; with `stop_agent`, once the agent has ended where it stands. */
  async #capsule(order: CapsuleOrdered): Promise<void> {
    const { capsules, journal, log } = this.#parts;
    this.#lastOrdered = order.capsule_id;
    this.#ordered = order;
    const current = this.#current;
    if (current && order.stop_agent) {
      current.leave("suspended", SUSPEND_GRACE_SECONDS, "the session is suspended");
      await this.#loop.catch((error: unknown) => log(`the task loop failed: ${String(error)}`));
      await Promise.all(this.#going);
    } else if (current && order.why === "suspend") current.hold(FREEZING);
    const running = this.#current;
    const of = running ? { task_id: running.start.task_id, run_id: running.start.run_id } : this.#last;
    if (capsules) {
      this.#taken = capsules.take({ capsule_id: order.capsule_id, why: order.why, of, torn: running !== null && !order.stop_agent && order.why !== "suspend" });
      await this.#taken.read;
    } else this.#unable(order, "this runner keeps no capsules");
    this.#ordered = null;
    this.#taken = null;
    journal.flush();
    this.#begin();
  }

  #unable({ capsule_id, why }: CapsuleOrdered, message: string): void {
    const { journal, stamp } = this.#parts;
    void journal.append(null, JSON.stringify({ at: stamp(), type: "workspace.sync_failed", data: { capsule_id, why, error: { code: "sync_failed", message } } }));
    journal.setCapsule(null, capsule_id);
  }

  /** The run that takes up the question has come and not begun: it gets the answer with the question. */
  #answerWaiting({ run_id, permission_id, decision, reason, scope }: Extract<CommandBody, { kind: "permission.answer" }>): void {
    this.#waiting = this.#waiting.map((start) => (start.run_id !== run_id || !start.carried ? start
      : { ...start, carried: start.carried.map((each) => (each.permission_id === permission_id ? { ...each, status: decision, reason, scope } : each)) }));
  }

  #cancel({ run_id, why, grace_seconds }: Extract<CommandBody, { kind: "task.cancel" }>): void {
    const reason = why === "timeout" ? "the task ran out of time" : "the task was canceled";
    if (run_id === this.runId) return this.#current?.cancel(why, grace_seconds, reason);
    const at = this.#waiting.findIndex((start) => start.run_id === run_id);
    const [start] = at === -1 ? [] : this.#waiting.splice(at, 1);
    if (start) endUnrun(this.#parts, start, { status: why, error: { code: why, message: reason } });
  }

  #refuseWaiting(reason: string): void {
    for (const start of this.#waiting.splice(0)) endUnrun(this.#parts, start, { status: "lost", error: { code: "runner_lost", message: reason } });
  }
}
