/** Owns the session's budget in the machine: model calls under way, what they reserved, what was spent, and the question when a cap is reached. */

import { MAX_PENDING_PERMISSIONS, type BudgetCaps, type BudgetNotice, type BudgetState, type ErrorBody, type ModelApi, type ModelRequest, type Permission, type Run, type RunError, type Usage } from "../../sdk/protocol/index.ts";
import { add, admit, inWords, largestInWords, nears, NOTHING, raised, stateOf, sum, tallyOf, warns, type Largest, type Tally } from "../base/caps.ts";
import type { SessionRecord, State, TaskRecord } from "./state.ts";
import type { Work } from "./work.ts";

/** A call of which the gateway has said nothing for so long is taken for lost: its edge has died, and it is settled by its reservation. */
export const CALL_SILENCE_MS = 180_000;

/** What is known of a call before it is made. */
export interface ModelCall {
  id: string;
  api: ModelApi;
  model: string | null;
  stream: boolean;
  largest: Largest;
  priced: boolean;
  price_version: string;
}

/** A call under way. */
export interface OpenCall extends ModelCall {
  at: string;
  deadline: number;
  task_id: string | null;
  run_id: string | null;
  labels: Record<string, string>;
  via: Via;
}

/** Whose key a call is made with, and where it goes: what its record says where the gateway is not heard of again. */
export type Via = Pick<ModelRequest, "key_source" | "agent_config_id" | "upstream">;

/** What the gateway says of a call that has ended. */
export type CallReport = Omit<ModelRequest, "tenant_id" | "session_id" | "task_id" | "run_id" | "labels" | "agent" | "created_at">;

interface Question {
  permission_id: string;
  task_id: string;
  run_id: string;
  notice: BudgetNotice;
}

export interface GatewayState {
  caps: BudgetCaps | null;
  /** By calls through the gateway alone. */
  spent: Tally;
  calls: readonly OpenCall[];
  /** The last run that called through the gateway: what its agent reports itself is not counted again. */
  metered_run: string | null;
  /** The owner is asked for more, and nothing new begins. */
  question: Question | null;
  /** The run whose question was denied: it is not asked again, and its task, where it waited for the answer, fails. */
  denied: { task_id: string; run_id: string; reason: string | null } | null;
}
export const NO_GATEWAY: GatewayState = { caps: null, spent: NOTHING, calls: [], metered_run: null, question: null, denied: null };

export type GatewayInput =
  /** `permission_id` is an unused id, for the one question that a step may ask; only where the call may be refused. */
  | { type: "model.open"; call: ModelCall; permission_id: string }
  | { type: "model.keep"; id: string; via: Via | null }
  /** `known`: the stored record of the call's task, which may have ended. */
  | { type: "model.settle"; report: CallReport; notices: BudgetNotice[]; known?: TaskRecord | null }
  /** A label's or the tenant's budget refused a call that the session had let through: it is taken back. */
  | { type: "model.refused"; id: string; notice: BudgetNotice; ask: boolean; permission_id: string };

const reservedBy = (calls: readonly OpenCall[]) => sum(calls.map(({ largest }) => tallyOf(largest)));
/** Why nothing begins while the owner is asked. */
export const BUDGET_WAIT = "the budget is used up; an approval raises it";
const patch = (work: Work, change: Partial<GatewayState>) => work.set({ gateway: { ...work.state.gateway, ...change } });

/** The session's budget as clients see it. */
export function sessionBudget({ gateway: { caps, spent, calls } }: State): BudgetState | null {
  return caps && stateOf(caps, spent, reservedBy(calls));
}

/** When a call under way has been silent for too long. */
export function gatewayDeadline({ gateway: { calls } }: State): number | null {
  let first: number | null = null;
  for (const { deadline } of calls) if (first === null || deadline < first) first = deadline;
  return first;
}

/** Whether there is a budget of the session or of its task that a call may not fit into. */
export function mayRefuse({ gateway, running }: State): boolean {
  return gateway.caps !== null || gateway.question !== null || Boolean(running?.task.budget);
}

/** Begins a call, or refuses it where its largest cost does not fit what is left. */
export function openCall(work: Work, { call, permission_id }: Extract<GatewayInput, { type: "model.open" }>): void {
  const { session, running, gateway } = work.state;
  if (!session || gateway.calls.some(({ id }) => id === call.id)) return;
  const task = running?.task ?? null;
  if (gateway.question) return refuse(work, call, gateway.question.notice, "no", permission_id);
  for (const [notice, answer] of check(work.state, call)) {
    if (answer === "yes") continue;
    return refuse(work, call, notice, answer, permission_id);
  }
  const run_id = running?.run.id ?? null;
  const open: OpenCall = { ...call, at: work.at, deadline: work.now + CALL_SILENCE_MS, task_id: task?.id ?? null, run_id, labels: { ...session.labels, ...task?.labels }, via: expected(session) };
  patch(work, { calls: [...gateway.calls, open], ...(run_id !== null && { metered_run: run_id }) });
}

/** With whose key a session's calls are made, before the gateway has said more. */
function expected({ has_api_key, agent_config_id, base_url }: SessionRecord): Via {
  const own = has_api_key && base_url && URL.canParse(base_url) ? new URL(base_url).host : "unknown";
  if (has_api_key) return { key_source: "byok", agent_config_id: null, upstream: own };
  return agent_config_id ? { key_source: "agent_config", agent_config_id, upstream: "unknown" } : { key_source: "deployment", agent_config_id: null, upstream: "unknown" };
}

/** Each budget that the call must fit into, and whether it does. */
function check(state: State, call: ModelCall): [BudgetNotice, ReturnType<typeof admit>][] {
  const { gateway, running } = state;
  const found: [BudgetNotice, ReturnType<typeof admit>][] = [];
  const task = running?.task;
  if (task?.budget) {
    const spent = { cost_usd: task.budget.spent_cost_usd, tokens: task.budget.spent_tokens };
    const reserved = reservedBy(gateway.calls.filter(({ task_id }) => task_id === task.id));
    found.push([{ scope: "task", budget_id: null, what: "this task", ...stateOf(task.budget, spent, reserved) }, admit(task.budget, spent, reserved, call.largest)]);
  }
  if (gateway.caps) {
    const reserved = reservedBy(gateway.calls);
    found.push([{ scope: "session", budget_id: null, what: "this session", ...stateOf(gateway.caps, gateway.spent, reserved) }, admit(gateway.caps, gateway.spent, reserved, call.largest)]);
  }
  return found;
}

/** Why a call is refused, as the agent and the caller of the API are told. */
export function refusal(call: { model: string | null; largest: Largest }, notice: BudgetNotice, why: "busy" | "no" | "unpriced", asked: boolean): ErrorBody {
  if (why === "busy") {
    return { code: "rate_limited", message: `budget: other calls have reserved what is left of ${notice.what}; try again when they have ended`, details: { retry_after_seconds: 2, budget: notice } };
  }
  if (why === "unpriced") {
    return { code: "budget_exceeded", message: `budget: ${notice.what} has a cap on cost, and nobody knows the price of ${call.model ?? "this model"}`, details: { budget: notice }, hint: "Give the model a price (PUT /api/v1/metrics/pricing), or cap tokens instead" };
  }
  const words = `budget_exceeded: ${notice.what} has spent ${inWords(notice)}, and this call may cost up to ${largestInWords(call.largest)}`;
  return { code: "budget_exceeded", message: asked ? `${words}. Its owner has been asked to raise the cap` : words, details: { budget: notice } };
}

function refuse(work: Work, call: ModelCall, notice: BudgetNotice, why: "busy" | "no" | "unpriced", permissionId: string): void {
  const asked = why === "no" && ask(work, call, notice, permissionId);
  const { code, message, details } = refusal(call, notice, why, asked);
  work.refuse(code, message, details);
}

/** Asks the owner for more, once: the session waits until the answer comes. False where there is nobody to ask for. */
function ask(work: Work, call: ModelCall, notice: BudgetNotice, permissionId: string): boolean {
  const { running, session, gateway, permissions } = work.state;
  if (!running || !session || gateway.denied?.run_id === running.run.id || permissions.length >= MAX_PENDING_PERMISSIONS) return false;
  if (gateway.question) return true;
  const { run, task } = running;
  const of = { task_id: task.id, run_id: run.id };
  const next = raised(notice, null, { cost_usd: notice.spent_cost_usd, tokens: notice.spent_tokens });
  const summary = `${notice.what} has spent ${inWords(notice)}; the next call of ${call.model ?? "the model"} may cost up to ${largestInWords(call.largest)}`;
  const asked = {
    tool: "budget", input: { ...notice, model: call.model, largest_cost_usd: call.largest.cost_usd, largest_tokens: call.largest.tokens, raise_to: { ...next } }, summary,
    risk: "high" as const, reasons: ["the budget does not cover the largest that the call can cost", "approving raises the cap: to what the answer says, or by the same again"],
  };
  const value: Permission = { id: permissionId, session_id: session.id, tenant_id: session.tenant_id, ...of, status: "pending", ...asked, decision: null, created_at: work.at, ended_at: null, version: 1 };
  work.do({ kind: "put.permission", value });
  work.set({ permissions: [...permissions, { id: permissionId, run_id: run.id, task_id: task.id }] });
  patch(work, { question: { permission_id: permissionId, ...of, notice } });
  work.log("budget.exceeded", notice, of);
  work.log("permission.requested", { permission_id: permissionId, ...asked }, of);
  return true;
}

export function keepCall(work: Work, { id, via }: Extract<GatewayInput, { type: "model.keep" }>): void {
  const { calls } = work.state.gateway;
  const kept = (call: OpenCall): OpenCall => ({ ...call, deadline: work.now + CALL_SILENCE_MS, via: via ?? call.via });
  if (calls.some((call) => call.id === id)) patch(work, { calls: calls.map((call) => (call.id === id ? kept(call) : call)) });
}

/** A call has ended: counted once, however often it is said. */
export function settleCall(work: Work, { report, notices, known = null }: { report: CallReport; notices: readonly BudgetNotice[]; known?: TaskRecord | null }): void {
  const { session, gateway } = work.state;
  const call = gateway.calls.find(({ id }) => id === report.id);
  if (!call || !session) return;
  const { task_id, run_id, labels, at } = call;
  const of = { task_id, run_id };
  work.do({ kind: "put.request", value: { ...report, tenant_id: session.tenant_id, session_id: session.id, ...of, labels, agent: session.agent, created_at: at } });
  const cost: Tally = { cost_usd: report.cost_usd ?? 0, tokens: report.input_tokens + report.cache_read_tokens + report.cache_write_tokens + report.output_tokens };
  const spent = add(gateway.spent, cost);
  patch(work, { calls: gateway.calls.filter((other) => other !== call), spent });
  if (cost.tokens > 0) {
    const { input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd } = report;
    const used: Usage = { input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd };
    count(work, task_id, used, known);
    if (session.status !== "terminated") work.log("usage", { ...used, model: report.model, source: "gateway", request_id: report.id, ...(report.estimated && { estimated: true }) }, of);
  }
  if (session.status === "terminated") return;
  if (gateway.caps && warns(gateway.caps, gateway.spent, spent)) work.log("budget.warning", { scope: "session", budget_id: null, what: "this session", ...stateOf(gateway.caps, spent, reservedBy(work.state.gateway.calls)) }, of);
  spendOf(work, task_id, cost, of);
  for (const notice of notices) work.log("budget.warning", notice, of);
}

/** What a call cost counts for its task also after its run: a task that waits for its next attempt has one budget for all of them. */
function spendOf(work: Work, taskId: string | null, cost: Tally, of: { task_id: string | null; run_id: string | null }): void {
  changeTask(work, taskId, (task) => {
    if (!task.budget || (cost.tokens === 0 && cost.cost_usd === 0)) return task;
    const before = { cost_usd: task.budget.spent_cost_usd, tokens: task.budget.spent_tokens };
    const now = add(before, cost);
    const state = stateOf(task.budget, now, NOTHING);
    if (warns(task.budget, before, now)) work.log("budget.warning", { scope: "task", budget_id: null, what: "this task", ...state }, of);
    return { ...task, budget: state };
  });
}

/** Changes a task that runs or waits. */
function changeTask(work: Work, taskId: string | null, change: (task: TaskRecord) => TaskRecord): void {
  const { running, queue } = work.state;
  if (running?.task.id === taskId) {
    const task = change(running.task);
    if (task !== running.task) work.set({ running: { ...running, task } });
    return;
  }
  const queued = queue.find(({ id }) => id === taskId);
  const changed = queued && change(queued);
  if (!changed || changed === queued) return;
  const value = { ...changed, version: queued.version + 1 };
  work.set({ queue: work.state.queue.map((task) => (task.id === taskId ? value : task)) });
  work.do({ kind: "put.task", value });
}

/** Calls whose gateway has fallen silent: the most that they can have cost is what they are taken to have cost. */
export function callsOverdue(work: Work): void {
  for (const call of work.state.gateway.calls) {
    if (call.deadline > work.now) continue;
    const { id, api, model, stream, priced, price_version, largest, via } = call;
    settleCall(work, {
      report: {
        id, api, model, stream, priced, price_version, ...via, outcome: "lost", status: null, stop_reason: null,
        input_tokens: largest.tokens, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: largest.cost_usd, estimated: true, retries: 0, ttft_ms: null,
        duration_ms: work.now - Date.parse(call.at), error: "the edge that made the call did not say how it ended; counted as the most that it could cost",
      },
      notices: [],
    });
  }
}

/** A budget above the session's refused the call. */
export function refusedAbove(work: Work, { id, notice, ask: asks, permission_id }: Extract<GatewayInput, { type: "model.refused" }>): void {
  const { calls } = work.state.gateway;
  const call = calls.find((open) => open.id === id);
  if (!call) return;
  patch(work, { calls: calls.filter((open) => open !== call) });
  if (asks) ask(work, call, notice, permission_id);
}

function count(work: Work, taskId: string | null, used: Usage, known: TaskRecord | null): void {
  work.set({ usage: plus(work.state.usage, used) });
  const counted = (task: TaskRecord): TaskRecord => ({ ...task, usage: task.usage ? plus(task.usage, used) : used });
  const { running, queue } = work.state;
  const ended = known !== null && known.id === taskId && running?.task.id !== taskId && queue.every(({ id }) => id !== taskId);
  if (ended) work.do({ kind: "put.task", value: { ...counted(known), version: known.version + 1 } });
  else changeTask(work, taskId, counted);
}

/** True where an agent's own report of what it used is already counted, because its calls went through the gateway. */
export function isMetered({ gateway }: State, runId: string | null): boolean {
  return runId !== null && gateway.metered_run === runId;
}

export function plus(a: Usage, b: Usage): Usage {
  const cost = a.cost_usd === null && b.cost_usd === null ? null : Math.round(((a.cost_usd ?? 0) + (b.cost_usd ?? 0)) * 1e9) / 1e9;
  return {
    input_tokens: a.input_tokens + b.input_tokens, output_tokens: a.output_tokens + b.output_tokens, cache_read_tokens: a.cache_read_tokens + b.cache_read_tokens,
    cache_write_tokens: a.cache_write_tokens + b.cache_write_tokens, reasoning_tokens: a.reasoning_tokens + b.reasoning_tokens, cost_usd: cost,
  };
}

/** The owner has answered. */
export function budgetAnswered(work: Work, decision: "approved" | "denied", caps: BudgetCaps | null, reason: string | null): void {
  const { question } = work.state.gateway;
  if (!question) return;
  const { notice, task_id, run_id, permission_id } = question;
  patch(work, { question: null, ...(decision === "denied" && { denied: { task_id, run_id, reason } }) });
  if (decision === "denied") return;
  if (!work.state.running) work.attach({ notice: "Your last turn stopped because its budget was used up. The budget has been raised: go on where you were." });
  if (notice.scope === "session" && work.state.gateway.caps) setCaps(work, raised(work.state.gateway.caps, caps, work.state.gateway.spent));
  else if (notice.scope === "task") raiseTask(work, task_id, caps);
  else if (notice.budget_id) work.call(`budget:${permission_id}`, { kind: "budget.raise", budget_id: notice.budget_id, permission_id, caps });
}

/** A task's budget, nothing of it spent. */
export function newTaskBudget(caps: BudgetCaps | undefined): BudgetState | null {
  return caps ? stateOf(caps, NOTHING, NOTHING) : null;
}

/** Whether a run that failed did so while its owner is asked for more: its task waits for the answer. */
export function awaitsBudget({ state: { gateway } }: Work, task: TaskRecord): boolean {
  return gateway.question?.task_id === task.id;
}

/** Puts a task that ran out of its budget back to the queue's head; its run has ended. The next run goes on with its conversation. */
export function putOff(work: Work, task: TaskRecord, run: Run, conversation: string | null): void {
  const reason = BUDGET_WAIT;
  const value: TaskRecord = {
    ...task, status: "pending", error: null, waiting_for: reason, next_attempt_at: null, resume: conversation === null ? task.resume : { conversation }, interruptions: task.interruptions + 1, version: task.version + 1,
  };
  work.set({ queue: [value, ...work.state.queue] });
  work.do({ kind: "put.task", value });
  work.log("task.status", { status: "pending", attempt: task.attempts, error: { code: "budget_exceeded", message: reason }, reason }, { task_id: task.id, run_id: run.id });
}

/** The error of the queue's first task, where it waited for more and was denied; null elsewhere. */
export function deniedHead({ queue, gateway: { denied } }: State): RunError | null {
  if (!denied || queue[0]?.id !== denied.task_id) return null;
  return { code: "budget_exceeded", message: `its budget is used up, and more was denied${denied.reason ? `: ${denied.reason}` : ""}`.slice(0, 4_000) };
}

function raiseTask(work: Work, taskId: string, asked: BudgetCaps | null): void {
  changeTask(work, taskId, (task) => {
    if (!task.budget) return task;
    const spent = { cost_usd: task.budget.spent_cost_usd, tokens: task.budget.spent_tokens };
    const next = raised(task.budget, asked, spent);
    if (nears(next, spent) && !nears(task.budget, spent)) work.log("budget.warning", { scope: "task", budget_id: null, what: "this task", ...stateOf(next, spent, NOTHING) }, { task_id: task.id, run_id: task.run_id });
    return { ...task, budget: stateOf(next, spent, NOTHING) };
  });
}

/** A change by the session's owner: caps from now on, or none. Lowered to where four fifths are spent already, that is told now. */
export function setCaps(work: Work, caps: BudgetCaps | null): void {
  const { caps: before, spent, calls } = work.state.gateway;
  patch(work, { caps: caps && { max_cost_usd: caps.max_cost_usd, max_tokens: caps.max_tokens } });
  if (caps && nears(caps, spent) && !(before && nears(before, spent))) work.log("budget.warning", { scope: "session", budget_id: null, what: "this session", ...stateOf(caps, spent, reservedBy(calls)) });
}
