/** Owns tasks and runs in the machine: the queue, dispatch, cancel, timeout, retry, and how an attempt ends. */

import { MAX_QUEUED_TASKS, TASK_ENDED, type EventData, type Run, type RunError, type TaskStatus, type Usage } from "../../sdk/protocol/index.ts";
import { backoff } from "../base/deadlines.ts";
import { endTurnApprovals } from "./approvals.ts";
import { awaitsBudget, newTaskBudget, putOff } from "./budget.ts";
import { continuable, interruptRun, takeOver } from "./interruption.ts";
import { cancelPermissions, dropQuestion } from "./permissions.ts";
import { wake } from "./session.ts";
import type { CommandRecord, Input, TaskRecord } from "./state.ts";
import type { Work } from "./work.ts";

const RETRY_BACKOFF = { base_ms: 1_000, cap_ms: 300_000 };
/** How long an agent has to stop by itself before its process group is killed. */
const GRACE_SECONDS = 10;
/** How much longer than the grace the session waits for the runner's word. */
const PATIENCE_MS = 5_000;
/** A task whose runner was lost so often in mid-turn is not gone on with any more. */
const MAX_LOSSES = 3;
const BEHIND = "the tasks before it";

export function createTask(work: Work, { id, input, preview, known, continued, fresh, images }: Extract<Input, { type: "task.create" }>): void {
  const { session, queue, running } = work.state;
  if (!session || known || queue.some((task) => task.id === id) || running?.task.id === id) return;
  if (session.status === "terminated") return work.refuse("conflict", "the session has ended and takes no more tasks", { status: "terminated" });
  if (queue.length >= MAX_QUEUED_TASKS) return work.refuse("conflict", `${MAX_QUEUED_TASKS} tasks wait in this session; wait for some to end, or use another session`, { queued_tasks: queue.length });
  if (input.continue_from) {
    if (!continued) return work.refuse("bad_request", "continue_from: no task of that id in this session", { continue_from: "no task of that id in this session" });
    if (!TASK_ENDED.has(continued.status)) return work.refuse("conflict", `continue_from: that task is ${continued.status}; only one that has ended can be continued`, { continue_from: continued.status });
  }
  enqueue(work, {
    id, session_id: session.id, tenant_id: session.tenant_id, status: "pending", timeout_seconds: input.timeout_seconds, max_retries: input.max_retries,
    continue_from: input.continue_from ?? null, labels: input.labels, ...(images && { attachments: images }), attempts: 0, run_id: null, result: null, exit_code: null, error: null, usage: null, budget: newTaskBudget(input.budget),
    waiting_for: null, conversation: null, next_attempt_at: null, created_at: work.at, started_at: null, ended_at: null, version: 0,
    order: 0, resume: fresh ? { conversation: null } : continued ? { conversation: continued.conversation } : null, interrupted: null, interruptions: 0, losses: 0,
  });
  work.log("task.created", { task_id: id, prompt_preview: preview, labels: input.labels, ...(images && { attachments: images }) }, { task_id: id, run_id: null });
}

/** Puts a task at the queue's end. */
function enqueue(work: Work, task: TaskRecord): void {
  const { queue, running, counters } = work.state;
  const order = counters.order + 1;
  work.counters({ order });
  const value = { ...task, order, waiting_for: queue.length > 0 || running ? BEHIND : null, version: task.version + 1 };
  work.set({ queue: [...queue, value] });
  work.do({ kind: "put.task", value });
  wake(work);
}

export function cancelTask(work: Work, { id, by, known }: Extract<Input, { type: "task.cancel" }>): void {
  const { queue, running } = work.state;
  const pending = queue.find((task) => task.id === id);
  const error: RunError = { code: "canceled", message: `canceled by ${by}` };
  if (pending) {
    work.set({ queue: queue.filter((task) => task !== pending) });
    return endTask(work, pending, "canceled", { error });
  }
  if (running?.task.id === id) return endRunBy(work, "canceled");
  if (!known) return work.refuse("not_found", "no task of that id");
  // Canceling twice is fine; what ended otherwise cannot be canceled any more.
  if (known.status !== "canceled") work.refuse("conflict", `the task has ended: ${known.status}`, { status: known.status });
}

export function retryTask(work: Work, { id, known }: Extract<Input, { type: "task.retry" }>): void {
  const { session, queue } = work.state;
  if (!known) return work.refuse("not_found", "no task of that id");
  if (!TASK_ENDED.has(known.status) || known.status === "completed") return work.refuse("conflict", `only a task that failed, timed out or was canceled can be tried again; this one is ${known.status}`, { status: known.status });
  if (session?.status === "terminated") return work.refuse("conflict", "the session has ended", { status: "terminated" });
  if (queue.length >= MAX_QUEUED_TASKS) return work.refuse("conflict", `${MAX_QUEUED_TASKS} tasks wait in this session`, { queued_tasks: queue.length });
  enqueue(work, { ...known, id, status: "pending", ended_at: null, next_attempt_at: null, result: null, exit_code: null, error: null, interrupted: null, interruptions: 0, losses: 0 });
  work.log("task.status", { status: "pending", attempt: known.attempts, error: null, reason: "tried again by hand" }, { task_id: id, run_id: null });
}

/** A pending task does not wait for its backoff. */
export function executeTask(work: Work, { id, known }: Extract<Input, { type: "task.execute" }>): void {
  const { queue, running } = work.state;
  const pending = queue.find((task) => task.id === id);
  if (!pending) {
    const status = running?.task.id === id ? "running" : known?.status;
    return status ? work.refuse("conflict", `only a pending task can be started; this one is ${status}`, { status }) : work.refuse("not_found", "no task of that id");
  }
  work.counters({ retry_at: null });
  wake(work);
  if (pending.next_attempt_at) replaceQueued(work, pending, { next_attempt_at: null, waiting_for: null });
}

export function replaceQueued(work: Work, task: TaskRecord, patch: Partial<TaskRecord>): void {
  const value = { ...task, ...patch, version: task.version + 1 };
  work.set({ queue: work.state.queue.map((queued) => (queued === task ? value : queued)) });
  work.do({ kind: "put.task", value });
}

/** True where the first task of the queue may start now. */
export function headDue(work: Work): boolean {
  const head = work.state.queue[0];
  return head !== undefined && (head.next_attempt_at === null || Date.parse(head.next_attempt_at) <= work.now);
}

/** Gives the first task of the queue to the runner. */
export function dispatch(work: Work): void {
  const { queue, attachment, session } = work.state;
  const head = queue[0];
  if (!head || !attachment || !session) return;
  const interrupted = head.interrupted && continuable(head.interrupted, attachment.host_id) ? head.interrupted : null;
  if (head.interrupted && !interrupted && !startOver(work, head)) return;
  if (!interrupted) endTurnApprovals(work);
  const run = newRun(work, head, "assigned");
  const task: TaskRecord = {
    ...head, status: "running", attempts: run.attempt, run_id: run.id, waiting_for: null, next_attempt_at: null, started_at: head.started_at ?? work.at,
    error: null, interrupted: null, version: head.version + 1,
  };
  const left_ms = task.timeout_seconds * 1_000;
  if (interrupted) takeOver(work, run);
  // A question that goes on waiting stops the clock of the new run, too.
  const asked = work.state.permissions.length > 0;
  work.set({ queue: queue.slice(1), running: { task, run, deadline: asked ? null : work.now + left_ms, left_ms, ending: null, asked_at: asked ? work.now : null, conversation: interrupted?.conversation ?? null } });
  work.do({ kind: "put.task", value: task });
  work.do({ kind: "put.run", value: run });
  const of = { task_id: task.id, run_id: run.id };
  work.log("run.status", { status: "assigned" }, of);
  work.log("task.status", { status: "running", attempt: run.attempt, error: null, reason: null }, of);
  const conversation = interrupted?.conversation ?? (task.resume ? task.resume.conversation : session.conversation);
  const body: Extract<CommandRecord["body"], { kind: "task.start" }> = { kind: "task.start", task_id: task.id, run_id: run.id, attempt: run.attempt, timeout_seconds: task.timeout_seconds, conversation };
  if (attachment.notice !== null) body.notice = attachment.notice;
  if (interrupted) Object.assign(body, { interrupted: true, carried: interrupted.permissions });
  work.command(body);
  work.attach({ idle_since: null, notice: null });
  work.putRunner({ status: "busy" });
}

/** A turn whose only trace is on another host begins anew, as a retry; false where none is left. */
function startOver(work: Work, head: TaskRecord): boolean {
  cancelPermissions(work, "the turn that asked was lost with its host");
  if (retriesUsed(head) <= head.max_retries) return true;
  failHead(work, { code: "runner_lost", message: "its runner was lost in the middle of its turn, together with the host that had it" });
  return false;
}

function retriesUsed(task: TaskRecord): number {
  return task.attempts - task.interruptions;
}

function newRun(work: Work, task: TaskRecord, status: Run["status"]): Run {
  const { attachment } = work.state;
  return {
    id: work.freshRun, task_id: task.id, session_id: task.session_id, tenant_id: task.tenant_id, attempt: task.attempts + 1, status,
    runner_id: attachment?.runner_id ?? null, host_id: attachment?.host_id ?? null, epoch: attachment?.epoch ?? work.state.counters.epoch, exit_code: null, error: null,
    created_at: work.at, started_at: null, ended_at: null, version: 1,
  };
}

/** The runner's word on the run that it has. */
export function runReported(work: Work, runId: string, data: EventData<"run.status">): void {
  const { running } = work.state;
  if (running?.run.id !== runId) return;
  if (data.status === "running") {
    if (data.conversation && data.conversation !== running.conversation) work.set({ running: { ...running, conversation: data.conversation } });
    if (running.run.status !== "assigned") return;
    const run: Run = { ...running.run, status: "running", started_at: work.at, version: running.run.version + 1 };
    work.set({ running: { ...running, run, conversation: data.conversation ?? running.conversation, deadline: running.deadline === null ? null : work.now + running.left_ms } });
    work.do({ kind: "put.run", value: run });
  } else if (data.status !== "pending" && data.status !== "assigned") {
    const { status, error, exit_code = null, result = null, conversation = null } = data;
    // Stopped in the middle of its turn for a suspension; a task that was to end by then has ended.
    if (status === "canceled" && error?.code === "suspended" && !running.ending) return interruptRun(work, "canceled", error, work.state.attachment?.host_id ?? null, conversation);
    endRun(work, status, { exit_code, result, conversation, error: error ?? defaultError(status) });
  }
}

function defaultError(status: Run["status"]): RunError | null {
  if (status === "failed") return { code: "agent_failed", message: "the agent said that it failed" };
  if (status === "lost") return { code: "runner_lost", message: "the runner lost the run" };
  return null;
}

/** Tells the runner to end its run, once. */
function endRunBy(work: Work, why: "canceled" | "timeout"): void {
  const { running } = work.state;
  if (!running) return;
  if (running.ending) {
    // A person's cancel outranks a timeout: it will not be tried again.
    if (why === "canceled") work.set({ running: { ...running, ending: { ...running.ending, why } } });
    return;
  }
  work.command({ kind: "task.cancel", run_id: running.run.id, why, grace_seconds: GRACE_SECONDS });
  work.set({ running: { ...running, deadline: null, ending: { why, deadline: work.now + GRACE_SECONDS * 1_000 + PATIENCE_MS } } });
}

export function taskOverdue(work: Work): void {
  const { running } = work.state;
  if (running && running.deadline !== null && running.deadline <= work.now) endRunBy(work, "timeout");
}

interface Outcome {
  exit_code?: number | null;
  result?: string | null;
  conversation?: string | null;
  error: RunError | null;
}

/** Ends the current run, and its task or the wait for the next attempt. */
function endRun(work: Work, status: Run["status"], outcome: Outcome): void {
  const { running, session } = work.state;
  if (!running || !session) return;
  const { ending } = running;
  if (status !== "lost") work.set({ session: { ...session, last_run_id: running.run.id } });
  const run: Run = { ...running.run, status, exit_code: outcome.exit_code ?? null, error: outcome.error, ended_at: work.at, version: running.run.version + 1 };
  cancelPermissions(work, "its run has ended");
  endTurnApprovals(work);
  work.withdrawStart(run.id);
  work.set({ running: null });
  work.do({ kind: "put.run", value: run });
  work.attach({ idle_since: work.now });
  work.putRunner({ status: "idle" });
  const bad = status === "failed" || status === "lost";
  const ended: TaskStatus = bad ? (ending?.why ?? "failed") : status === "completed" || status === "canceled" || status === "timeout" ? status : "failed";
  const task = running.task;
  if (ended === "failed" && awaitsBudget(work, task)) return putOff(work, task, run, outcome.conversation ?? null);
  const error = outcome.error ?? (ended === "timeout" ? { code: "timeout" as const, message: `it ran for longer than ${task.timeout_seconds} s` } : ended === "canceled" ? { code: "canceled" as const, message: "canceled" } : null);
  if ((ended === "failed" || ended === "timeout") && retriesUsed(task) <= task.max_retries) {
    const wait = backoff(retriesUsed(task), RETRY_BACKOFF);
    const reason = `attempt ${task.attempts} ended: ${error?.message ?? ended}; the next one starts in ${wait / 1_000} s`.slice(0, 4_000);
    const value: TaskRecord = { ...task, status: "pending", error, waiting_for: reason, next_attempt_at: new Date(work.now + wait).toISOString(), version: task.version + 1 };
    work.set({ queue: [value, ...work.state.queue] });
    work.do({ kind: "put.task", value });
    return work.log("task.status", { status: "pending", attempt: task.attempts, error, reason }, { task_id: task.id, run_id: run.id });
  }
  endTask(work, task, ended, { ...outcome, error });
  endTurn(work);
}

/** Edits that were allowed until the task ends are not allowed in the next one. */
function endTurn(work: Work): void {
  const { session } = work.state;
  if (session?.edit_mode !== "turn") return;
  work.set({ session: { ...session, edit_mode: "off" } });
  work.command({ kind: "settings" });
}

function endTask(work: Work, task: TaskRecord, status: TaskStatus, { error, exit_code = null, result = null, conversation = null }: Outcome): void {
  const value: TaskRecord = {
    ...task, status, error: status === "completed" ? null : error, exit_code, result, conversation, waiting_for: null, next_attempt_at: null, ended_at: work.at, interrupted: null,
    version: task.version + 1,
  };
  if (task.interrupted) {
    cancelPermissions(work, "its task has ended");
    endTurnApprovals(work);
  }
  dropQuestion(work, task.id);
  work.do({ kind: "put.task", value });
  work.log("task.status", { status, attempt: task.attempts, error: value.error, reason: null }, { task_id: task.id, run_id: task.run_id });
  const { session } = work.state;
  if (session && conversation !== null) work.set({ session: { ...session, conversation } });
}

/**
 * The runner is gone with the run: the session's own word, as the runner cannot say it any more. While the session is being suspended, is held or
 * comes back, or where the agent can go on with its turn, the task goes on with the next runner; else it is tried again as its retries allow.
 */
export function loseRun(work: Work, error: RunError): void {
  const { running, suspending, attachment } = work.state;
  if (!running) return;
  work.log("run.status", { status: "lost", error }, { task_id: running.task.id, run_id: running.run.id });
  const host = attachment?.host_id ?? running.run.host_id;
  if (suspending && !running.ending) return interruptRun(work, "lost", error, suspending.capsule?.outcome === "synced" ? null : host, null);
  if (attachment?.continues && !running.ending && running.task.losses < MAX_LOSSES) return interruptRun(work, "lost", error, host, null);
  endRun(work, "lost", { error });
}

/** The first task of the queue begins its turn anew: what it had of one does not fit any more. */
export function dropInterruption(work: Work, reason: string): void {
  const head = work.state.queue[0];
  if (!head?.interrupted) return;
  cancelPermissions(work, reason);
  endTurnApprovals(work);
  replaceQueued(work, head, { interrupted: null });
}

/** The session is suspended without the runner's memory, and the runner did not end its run itself. */
export function suspendRun(work: Work, message: string): void {
  const { running, suspending, attachment } = work.state;
  if (!running) return;
  const error: RunError = { code: "suspended", message };
  work.log("run.status", { status: "canceled", error }, { task_id: running.task.id, run_id: running.run.id });
  if (running.ending) return endRun(work, "canceled", { error });
  interruptRun(work, "canceled", error, suspending?.capsule?.outcome === "synced" ? null : (attachment?.host_id ?? null), null);
}

/** Ends the current run and its task without waiting for the runner, and without another attempt. */
export function abandonRun(work: Work, status: "canceled", error: RunError): void {
  const { running } = work.state;
  if (!running) return;
  work.log("run.status", { status, error }, { task_id: running.task.id, run_id: running.run.id });
  endRun(work, status, { error });
}

/** The first task of the queue cannot be served: it fails with an attempt that says so. */
export function failHead(work: Work, error: RunError): void {
  const head = work.state.queue[0];
  if (!head) return;
  const run: Run = { ...newRun(work, head, "failed"), error, ended_at: work.at };
  work.set({ queue: work.state.queue.slice(1) });
  work.do({ kind: "put.run", value: run });
  work.log("run.status", { status: "failed", error }, { task_id: head.id, run_id: run.id });
  endTask(work, { ...head, attempts: run.attempt, run_id: run.id }, "failed", { error });
}

/** The first task of the queue waited for an answer that was no: it ends with the attempts that it had, as the next one may begin in the same step. */
export function endHead(work: Work, error: RunError): void {
  const [head, ...queue] = work.state.queue;
  if (!head) return;
  work.set({ queue });
  endTask(work, head, "failed", { error });
}

export function cancelQueued(work: Work, error: RunError): void {
  const { queue } = work.state;
  work.set({ queue: [] });
  for (const task of queue) endTask(work, task, "canceled", { error });
}

/** Adds what the agent used. */
export function countUsage(work: Work, data: EventData<"usage">): void {
  const { usage, running } = work.state;
  work.set({ usage: add(usage, data) });
  if (running) work.set({ running: { ...running, task: { ...running.task, usage: running.task.usage ? add(running.task.usage, data) : pick(data) } } });
}

function pick({ input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd }: Usage): Usage {
  return { input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd };
}
function add(a: Usage, b: Usage): Usage {
  return {
    input_tokens: a.input_tokens + b.input_tokens,
    output_tokens: a.output_tokens + b.output_tokens,
    cache_read_tokens: a.cache_read_tokens + b.cache_read_tokens,
    cache_write_tokens: a.cache_write_tokens + b.cache_write_tokens,
    reasoning_tokens: a.reasoning_tokens + b.reasoning_tokens,
    cost_usd: a.cost_usd === null && b.cost_usd === null ? null : (a.cost_usd ?? 0) + (b.cost_usd ?? 0),
  };
}
