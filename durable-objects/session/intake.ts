/** Owns the way of a runner's journal into the log: what was seen is dropped, a gap is refused, and what changes the session is stepped in order. */

import { CLOSE, fail, sessionOf, type ErrorBody, type EventsFrame, type RunnerItem } from "../../sdk/protocol/index.ts";
import type { Engine, Turn } from "./engine.ts";
import type { NotableItem } from "./state.ts";

/** A frame that no honest runner sends, or of an attachment that is over: the link is closed with this code. */
export class Hostile extends Error {
  readonly code: number;
  readonly body: ErrorBody;
  constructor(code: number, body: ErrorBody) {
    super(body.message);
    this.code = code;
    this.body = body;
  }
}
export function hostile(field: string, why: string, code: number = CLOSE.protocol): Hostile {
  return new Hostile(code, fail("bad_request", `frame: ${field}: ${why}`, { details: { [field]: why } }).error);
}

export class Intake {
  readonly #engine: Engine;
  /** Tasks of this runner's runs that frames may name, besides the current one. */
  #known = new Map<string, string>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Commands up to this one are in the runner's journal. */
  commandAck(turn: Turn, up_to: number): void {
    const { attachment } = this.#engine.state;
    if (!attachment) return;
    if (up_to >= attachment.next_command) throw hostile("up_to", "no such command was given");
    turn.input({ type: "command.ack", epoch: attachment.epoch, up_to });
  }

  /** Takes what is new of a frame; returns the journal number up to which all is in the log. */
  events(turn: Turn, { from, task_id, run_id, items }: EventsFrame): number {
    const { position, attachment, session } = this.#engine.state;
    const last = from + items.length - 1;
    if (!attachment || !session) return last;
    if (from > position + 1) throw hostile("from", `expected at most ${position + 1}`);
    this.#checkRun(task_id, run_id);
    let at = Math.max(0, position + 1 - from);
    // Cut behind every item that changes more than the log, so that what follows from it is logged right after it.
    for (let to = at; to < items.length; to++) {
      const item = items[to] as RunnerItem;
      if (!isNotable(item)) continue;
      checkIds(item, session.id, to);
      this.#append(turn, task_id, run_id, items.slice(this.#over(run_id) ? to : at, this.#stays(item, run_id) ? to + 1 : to));
      turn.input({ type: "journal", epoch: attachment.epoch, to: from + to, task_id, run_id, items: [item], seq: this.#engine.log.last });
      at = to + 1;
    }
    if (at < items.length) {
      if (!this.#over(run_id)) this.#append(turn, task_id, run_id, at === 0 ? items : items.slice(at));
      turn.input({ type: "journal", epoch: attachment.epoch, to: last, task_id, run_id, items: [], seq: this.#engine.log.last });
    }
    return Math.max(last, position);
  }

  #append(turn: Turn, task_id: string | null, run_id: string | null, items: readonly RunnerItem[]): void {
    if (items.length > 0 && this.#engine.state.session?.status !== "terminated") turn.append(task_id, run_id, items);
  }

  /** What a run says behind its end, which the session may have declared, is not logged: it would be of a turn that is told to be over. */
  #over(runId: string | null): boolean {
    return runId !== null && runId !== this.#engine.state.running?.run.id;
  }

  /** A second end of a run, or a question of one that has ended, is not logged: it would contradict what was told. */
  #stays(item: NotableItem, runId: string | null): boolean {
    if (item.type === "permission.requested" && (this.#engine.permissions.get(item.data.permission_id)?.status ?? "pending") !== "pending") return false;
    return item.type === "usage" || isOfWorkspace(item) || runId === this.#engine.state.running?.run.id;
  }

  #checkRun(taskId: string | null, runId: string | null): void {
    const { running, attachment } = this.#engine.state;
    if (runId === null) {
      if (taskId !== null) throw hostile("run_id", "missing beside task_id");
      return;
    }
    if (running?.run.id === runId && running.task.id === taskId) return;
    let known = this.#known.get(runId);
    if (known === undefined) {
      const run = this.#engine.runs.get(runId);
      if (!run || run.epoch !== attachment?.epoch) throw hostile("run_id", "no run of this runner");
      known = run.task_id;
      if (this.#known.size > 100) this.#known = new Map();
      this.#known.set(runId, known);
    }
    if (known !== taskId) throw hostile("task_id", "not the task of this run");
  }
}

const NOTABLE: ReadonlySet<string> = new Set<NotableItem["type"]>([
  "run.status", "permission.requested", "permission.withdrawn", "usage", "workspace.sync_started", "workspace.synced", "workspace.sync_failed", "workspace.restored", "workspace.restore_failed",
]);
function isNotable(item: RunnerItem): item is NotableItem {
  return NOTABLE.has(item.type);
}
/** What is said of the files is true whatever run is under way. */
function isOfWorkspace(item: NotableItem): boolean {
  return item.type.startsWith("workspace.");
}

function checkIds(item: NotableItem, sessionId: string, i: number): void {
  if (item.type === "permission.requested" && sessionOf(item.data.permission_id) !== sessionId) throw hostile(`items.${i}.data.permission_id`, "of another session");
  if ((item.type === "workspace.synced" || item.type === "workspace.sync_started") && sessionOf(item.data.capsule_id) !== sessionId) throw hostile(`items.${i}.data.capsule_id`, "of another session");
}
