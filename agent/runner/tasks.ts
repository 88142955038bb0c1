/** Owns the task loop: one run after another, in the order of the commands; recovery of what an earlier life left open. */

import type { CommandBody } from "../../sdk/protocol/runner-link.ts";
import type { TaskStart } from "./journal-line.ts";
import { killLeftovers } from "./process.ts";
import { diskError, endUnrun, Run, type RunParts } from "./run.ts";

/** Grace of a run that must go because its runner goes. */
const LEAVING_GRACE_SECONDS = 1;
/** Between the capsule and the thaw. */
const FREEZING = "the sandbox is to be frozen";
const ASKING = "a person is asked";

export class Tasks {
  readonly #parts: RunParts;
  #waiting: TaskStart[] = [];
  #current: Run | null = null;
  #loop: Promise<void> = Promise.resolve();
  #leaving: string | null = null;
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

  /** Begins what waits, once the gate has its settings. */
  resume(): void {
    if (this.#current === null && this.#waiting.length > 0) this.#loop = this.#work();
  }

  handle(body: CommandBody): void {
    switch (body.kind) {
      case "task.start":
        this.#waiting.push(body);
        if (this.#leaving !== null) return this.#refuseWaiting(this.#leaving);
        return this.resume();
      case "task.cancel":
        return this.#cancel(body);
      case "permission.answer":
        if (body.run_id === this.runId) this.#parts.gate.answer(body);
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
    await this.#loop;
    await Promise.all(this.#going);
  }

  async #work(): Promise<void> {
    for (let start = this.#waiting.shift(); start; start = this.#waiting.shift()) {
      const run = new Run(this.#parts, start);
      this.#current = run;
      await run.execute();
      this.#current = null;
      // What has escaped its process group is looked for while the next run begins.
      const gone = run.gone.catch((error: unknown) => this.#parts.log(`what is left of ${start.run_id} cannot be ended: ${String(error)}`)).finally(() => this.#going.delete(gone));
      this.#going.add(gone);
    }
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
