/** Owns following one task live: rendering its events, asking for permissions, canceling on Ctrl-C. */

import { ConflictError } from "../../core/errors.ts";
import { TASK_ENDED, type Event, type Task } from "../../protocol/index.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../io.ts";
import { usageText } from "../output/views.ts";
import { answer, ask, type Answer, type Question } from "./ask.ts";
import { LineReader } from "./lines.ts";
import { Renderer } from "./render.ts";

export interface FollowSettings {
  /** Approve everything that is asked. */
  yes: boolean;
  /** Ask at the prompt; otherwise the permission's id is printed and somebody else answers. */
  interactive: boolean;
}

/** Follows the task to its end; the exit code of its result. Ctrl-C cancels the task, a second one leaves it. */
export async function followTask(context: Context, task: Task, settings: FollowSettings): Promise<number> {
  return new TaskFollower(context, task, settings).run();
}

class TaskFollower {
  readonly #context: Context;
  readonly #task: Task;
  readonly #settings: FollowSettings;
  readonly #render: Renderer;
  readonly #lines: LineReader;
  readonly #leave = new AbortController();
  /** Questions that wait for their turn. */
  #questions: Question[] = [];
  /** The question that the person sees now; events are held meanwhile, so that nothing is printed into the answer. */
  #asking: { id: string; abort: AbortController; done: Promise<void> } | null = null;
  #held: Event[] = [];
  #failure: unknown = null;
  #interrupts = 0;
  #deaf = false;

  constructor(context: Context, task: Task, settings: FollowSettings) {
    this.#context = context;
    this.#task = task;
    this.#settings = settings;
    const { out } = context;
    this.#lines = new LineReader(context.io.stdin);
    this.#render = new Renderer({
      data: (text) => out.write(text),
      note: (text) => out.note(text.slice(0, -1)),
      paint: out.paintErr,
      colour: out.colour,
      verbose: out.verbose,
    });
  }

  async run(): Promise<number> {
    const { client, io, out } = this.#context;
    const release = io.onInterrupt(() => this.#interrupt());
    try {
      if (!out.structured) this.#render.wait(this.#task.waiting_for);
      const stream = client.tasks.logs(
        this.#task.id,
        { follow: true },
        { signal: this.#leave.signal, on_reconnect: ({ error }) => out.debug(`reconnecting: ${error instanceof Error ? error.message : String(error)}`) },
      );
      for await (const event of stream) {
        this.#take(event);
        await out.drained();
      }
      await this.#endAsking();
      if (this.#failure) throw this.#failure;
      return await this.#finish();
    } catch (error) {
      if (!this.#leave.signal.aborted) throw error;
      if (this.#failure) throw this.#failure;
      out.note(`Left task ${this.#task.id} to itself; follow it with: mctl tasks logs --follow ${this.#task.id}`);
      return EXIT.interrupted;
    } finally {
      await this.#endAsking();
      this.#render.end();
      this.#lines.close();
      release();
    }
  }

  #take(event: Event): void {
    if (this.#context.out.structured) this.#context.out.record(event);
    else if (this.#asking) this.#held.push(event);
    else if (event.type !== "permission.requested" || !this.#asksHere()) this.#render.event(event);
    if (event.type === "permission.requested") this.#requested(event.data);
    else if (event.type === "permission.answered" || event.type === "permission.withdrawn") this.#settled(event.data.permission_id);
  }

  #asksHere(): boolean {
    return this.#settings.interactive && !this.#settings.yes && !this.#deaf;
  }

  #requested(question: Question): void {
    this.#questions.push(question);
    if (this.#asksHere() || this.#settings.yes) this.#askNext();
    else {
      const { permission_id: id } = question;
      this.#context.out.note(`  waiting for an answer to ${id}: mctl permissions approve ${id}   (or deny)`);
    }
  }

  #settled(id: string): void {
    this.#questions = this.#questions.filter((question) => question.permission_id !== id);
    if (this.#asking?.id === id) this.#asking.abort.abort();
  }

  #askNext(): void {
    if (this.#asking || this.#leave.signal.aborted || this.#interrupts > 0) return;
    const question = this.#questions.shift();
    if (!question) return;
    const abort = new AbortController();
    this.#render.end();
    const done = this.#answer(question, abort.signal).then(
      () => this.#answered(),
      (error: unknown) => {
        this.#failure = error;
        this.#leave.abort(error);
      },
    );
    this.#asking = { id: question.permission_id, abort, done };
  }

  async #answer(question: Question, signal: AbortSignal): Promise<void> {
    const { client, out } = this.#context;
    let given: Answer | null = { approve: true, scope: "once" };
    if (!this.#settings.yes) {
      given = await ask(question, this.#lines, (text) => out.err(text), out.paintErr, signal);
      if (given === null) {
        out.err("\n");
        if (!signal.aborted) {
          this.#deaf = true;
          out.note(`  waiting for an answer to ${question.permission_id}: mctl permissions approve ${question.permission_id}   (or deny)`);
        }
        return;
      }
    }
    const decided = await answer(client, question.permission_id, given);
    if (decided) out.note(`  ${decided}`);
  }

  #answered(): void {
    this.#asking = null;
    const held = this.#held;
    this.#held = [];
    for (const event of held) if (event.type !== "permission.requested" || !this.#asksHere()) this.#render.event(event);
    if (this.#asksHere() || this.#settings.yes) this.#askNext();
  }

  async #endAsking(): Promise<void> {
    this.#questions = [];
    const asking = this.#asking;
    asking?.abort.abort();
    await asking?.done;
  }

  #interrupt(): void {
    const { client, out } = this.#context;
    this.#interrupts++;
    if (this.#interrupts > 1) {
      this.#leave.abort(new Error("left by the user"));
      return;
    }
    this.#asking?.abort.abort();
    this.#render.end();
    out.note("Canceling the task (Ctrl-C again leaves it to itself) …");
    client.tasks.cancel(this.#task.id, { signal: this.#leave.signal }).catch((error: unknown) => {
      // It has ended meanwhile: the stream says how.
      if (error instanceof ConflictError || this.#leave.signal.aborted) return;
      this.#failure = error;
      this.#leave.abort(error);
    });
  }

  async #finish(): Promise<number> {
    const { client, out } = this.#context;
    this.#render.end();
    let task = await client.tasks.get(this.#task.id);
    if (!TASK_ENDED.has(task.status)) task = await client.tasks.wait(this.#task.id, { signal: this.#leave.signal });
    if (task.usage) out.note(out.paintErr("dim", `usage: ${usageText(task.usage)}`));
    if (this.#interrupts > 0 && task.status === "canceled") return EXIT.interrupted;
    return task.status === "completed" ? EXIT.ok : EXIT.user;
  }
}
