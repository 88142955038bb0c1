/** Owns one request through the gateway: token, budget, upstream, stream, and the word to the session on how it ended. */

import { sessionStub, tenantStub, type CallGrant, type CallReport, type TenantAdmission } from "../../durable-objects/index.ts";
import { Failure, hashToken, newId, parseGatewayKey, type BudgetNotice, type CallOutcome } from "../../sdk/protocol/index.ts";
import { call, reach } from "../calls.ts";
import type { Records } from "../db/records.ts";
import type { Env } from "../env.ts";
import { describe, type Logger } from "../log.ts";
import { fetchPublic } from "./addresses.ts";
import { doorOf, join, kindOf, presented, type Door, type Kind, type Presented } from "./doors.ts";
import { refused, type Refusal } from "./errors.ts";
import { largestOf } from "./estimate.ts";
import { Meter, type Counted } from "./meter.ts";
import type { Policies } from "./policies.ts";
import { costOf, NO_TOKENS, priceOf, type Price } from "./prices.ts";
import { askingForUsage, factsOf, readBody, type Facts } from "./request.ts";
import { pause, waitFor } from "./retry.ts";
import { passOn } from "./stream.ts";
import { headersFor, upstreamOf, type Upstream } from "./upstream.ts";

/** How often a call that goes on says so. */
const KEEP_MS = 60_000;

export interface Surroundings {
  env: Env;
  records: Records;
  policies: Policies;
  waitUntil: (work: Promise<unknown>) => void;
  log: Logger;
}

/** Who calls: checked by the session's object with every call. */
interface Caller {
  token: string;
  hash: string;
  session_id: string;
  where: Presented;
}

/** A call that was let through: what must be settled whatever happens. */
interface Admitted {
  id: string;
  grant: CallGrant;
  facts: Facts;
  price: Price;
  tenants: boolean;
  started: number;
}

class Upset extends Error {
  readonly refusal: Refusal;
  constructor(refusal: Refusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

/** Answers a request below `/gateway/`. */
export async function serve(request: Request, around: Surroundings): Promise<Response> {
  const url = new URL(request.url);
  const door = doorOf(url.pathname);
  const id = newId("model_request", Date.now());
  const started = Date.now();
  let response: Response;
  try {
    if (!door) throw new Failure("not_found", "The gateway has no such door", { hint: "/gateway/anthropic, /gateway/openai, /gateway/compatible/{name}" });
    response = await carry(request, url, door, id, around);
  } catch (error) {
    response = refused(door, refusalOf(error, around.log, id), id);
  }
  around.log.info("model call", { request_id: id, session: parseGatewayKey(presented(request.headers)?.key ?? "")?.session_id, method: request.method, path: url.pathname, status: response.status, duration_ms: Date.now() - started });
  return response;
}

function refusalOf(error: unknown, log: Logger, id: string): Refusal {
  if (error instanceof Upset) return error.refusal;
  if (error instanceof Failure) return error.toBody(id);
  log.error("model call failed", { request_id: id, ...describe(error) });
  return { code: "internal_error", message: "A fault of the gateway's; it is logged under the request's id" };
}

const unknown = () => new Failure("unauthorized", "The gateway key is unknown, or its runner is gone");

async function carry(request: Request, url: URL, door: Door, id: string, around: Surroundings): Promise<Response> {
  const where = presented(request.headers);
  const key = parseGatewayKey(where?.key ?? "");
  if (!where || !key) throw unknown();
  if (request.headers.get("upgrade")) throw new Failure("not_found", "The gateway speaks HTTP only");
  const caller: Caller = { ...key, where, hash: await hashToken(key.token) };
  const kind = kindOf(request.method, door.path);
  return kind.carried === "metered" ? metered(request, url, door, kind, id, caller, around) : plain(request, url, door, kind, id, caller, around);
}

/** Requests that cost nothing or what nobody can count: the latter only where no budget could be broken by them. */
async function plain(request: Request, url: URL, door: Door, kind: Kind, id: string, caller: Caller, around: Surroundings): Promise<Response> {
  const { env, policies } = around;
  const claim = await call(() => sessionStub(env, caller.session_id).claimGateway(caller.hash));
  policies.learn(caller.session_id, claim.tenant_id);
  const upstream = await upstreamOf({ ...around, door, token: caller.token, session_id: caller.session_id }, claim);
  const bytes = await readBody(request);
  if (kind.carried === "free") {
    const leaving = leaves(request);
    const { response } = await send(request, url, door, upstream, bytes, caller, leaving, env);
    return response;
  }
  const facts: Facts = { model: null, stream: false, wantsUsage: false, size: { bytes: bytes.byteLength, max_output_tokens: null, answers: 1, linked: 0, stored: false } };
  return admitted(request, url, door, kind, bytes, facts, id, caller, around);
}

async function metered(request: Request, url: URL, door: Door, kind: Kind, id: string, caller: Caller, around: Surroundings): Promise<Response> {
  const bytes = await readBody(request);
  const facts = await factsOf(kind.api, bytes, request.headers.get("content-encoding"));
  return admitted(request, url, door, kind, bytes, facts, id, caller, around);
}

async function admitted(request: Request, url: URL, door: Door, kind: Kind, bytes: Uint8Array<ArrayBuffer>, facts: Facts, id: string, caller: Caller, around: Surroundings): Promise<Response> {
  const { env, records, policies } = around;
  const session = () => sessionStub(env, caller.session_id);
  let tenant = policies.tenantOf(caller.session_id);
  if (tenant === null) {
    tenant = (await call(() => session().claimGateway(caller.hash))).tenant_id;
    policies.learn(caller.session_id, tenant);
  }
  const price = priceOf(facts.model, await policies.prices(records, tenant));
  const largest = largestOf(facts.size, price);
  const asked = { id, api: kind.api, model: facts.model, stream: facts.stream, largest, priced: price.price !== null, price_version: price.version };
  const grant = await call(() => session().openCall(caller.hash, asked));
  const open: Admitted = { id, grant, facts, price, tenants: false, started: performance.now() };
  let upstream: Upstream;
  try {
    upstream = await upstreamOf({ ...around, door, token: caller.token, session_id: caller.session_id }, grant);
    const policy = await policies.policy(env, grant.tenant_id);
    if (policy.budgets || policy.requests_per_minute !== null || upstream.limit !== null) {
      // Also where the answer is lost: what it may have reserved is given back.
      open.tenants = policy.budgets;
      const said = await reach(() => tenantStub(env, grant.tenant_id).admitCall({ id, labels: grant.labels, model: facts.model, largest, key: upstream.limit }));
      if (!said.ok) await turnedAway(said, open, around, caller);
    }
  } catch (error) {
    if (!(error instanceof Upset)) around.waitUntil(settle(open, kind, caller, around, null, { outcome: "refused", status: null, error: error instanceof Error ? error.message.slice(0, 300) : "refused" }));
    throw error;
  }
  return stream(request, url, door, kind, bytes, open, upstream, caller, around);
}

/** A limit or budget of the tenant said no. */
async function turnedAway(said: Exclude<TenantAdmission, { ok: true }>, open: Admitted, { env }: Surroundings, caller: Caller): Promise<never> {
  const session = () => sessionStub(env, caller.session_id);
  if (said.why === "rate") {
    await reach(() => session().settleCall({ ...reportOf(open, { api: "other", carried: "metered" }, null, null), outcome: "refused", error: `more than ${said.limit} calls a minute` }, []));
    const whose = said.what === "tenant" ? "This tenant" : "This model key";
    throw new Upset({ code: "rate_limited", message: `${whose} may make ${said.limit} model calls a minute`, details: { limit: said.limit, retry_after_seconds: said.retry_after_seconds } });
  }
  const ask = said.why === "no";
  await reach(() => session().refuseCall(open.id, said.notice, ask));
  const { notice } = said;
  if (said.why === "busy") throw new Upset({ code: "rate_limited", message: `budget: other calls have reserved what is left of ${notice.what}; try again when they have ended`, details: { retry_after_seconds: 2, budget: notice } });
  if (said.why === "unpriced") {
    throw new Upset({ code: "budget_exceeded", message: `budget: ${notice.what} has a cap on cost, and nobody knows the price of ${open.facts.model ?? "this model"}`, hint: "Give the model a price (PUT /api/v1/metrics/pricing), or cap tokens instead" });
  }
  throw new Upset({ code: "budget_exceeded", message: `budget_exceeded: ${notice.what} has spent too much for this call. Its owner has been asked to raise the cap`, details: { budget: notice } });
}

function leaves(request: Request): AbortController {
  const leaving = new AbortController();
  request.signal.addEventListener("abort", () => leaving.abort(), { once: true });
  return leaving;
}

interface Sent {
  response: Response;
  retries: number;
}

/** Sends the request; 429 and 529 are tried again as upstream says. Throws `Upset` where upstream cannot be reached. */
async function send(request: Request, url: URL, door: Door, upstream: Upstream, bytes: Uint8Array<ArrayBuffer>, caller: Caller, leaving: AbortController, env: Env): Promise<Sent> {
  const to = join(upstream.base_url, door.path, url.search);
  const headers = headersFor(request.headers, caller.where, upstream.key);
  const init: RequestInit = { method: request.method, headers, ...(bytes.byteLength > 0 && { body: bytes }), redirect: "manual", signal: leaving.signal };
  for (let tries = 1; ; tries++) {
    let response: Response;
    try {
      response = await (upstream.source === "deployment" ? fetch(to, init) : fetchPublic(env, to, init));
    } catch (error) {
      if (leaving.signal.aborted) throw new Upset({ code: "unavailable", status: 499, message: "The agent left" });
      throw new Upset({ code: "unavailable", status: 502, message: `upstream_unreachable: the model provider at ${upstream.host} cannot be reached: ${error instanceof Error ? error.message.slice(0, 200) : "no answer"}`, details: { upstream: upstream.host } });
    }
    // What HTTP does not know cannot be passed on.
    if (response.status < 200 || response.status > 599) {
      await response.body?.cancel();
      throw new Upset({ code: "unavailable", status: 502, message: `upstream_unreachable: the model provider at ${upstream.host} answered with the status ${response.status}, which is none`, details: { upstream: upstream.host } });
    }
    const wait = waitFor(response.status, response.headers, tries, Date.now());
    if (wait === null) return { response, retries: tries - 1 };
    await response.body?.cancel();
    await pause(wait, leaving.signal).catch(() => {
      throw new Upset({ code: "unavailable", status: 499, message: "The agent left" });
    });
  }
}

async function stream(request: Request, url: URL, door: Door, kind: Kind, bytes: Uint8Array<ArrayBuffer>, open: Admitted, upstream: Upstream, caller: Caller, around: Surroundings): Promise<Response> {
  const leaving = leaves(request);
  const keep = setInterval(() => void keepUp(open, upstream, caller, around), KEEP_MS);
  // Promised before anything is sent: an agent that leaves takes its request's time with it, but not what was promised.
  const { promise: over, resolve } = Promise.withResolvers<[Counted | null, Ended]>();
  around.waitUntil(over.then(([counted, more]) => settle(open, kind, caller, around, upstream, more, counted)));
  const end = (counted: Counted | null, more: Ended) => {
    clearInterval(keep);
    resolve([counted, more]);
  };
  let asks = open.facts.wantsUsage;
  let sent: Sent;
  try {
    sent = await send(request, url, door, upstream, asks ? askingForUsage(bytes) : bytes, caller, leaving, around.env);
    // An upstream that does not know the question is asked again without it.
    if (asks && sent.response.status === 400) {
      asks = false;
      await sent.response.body?.cancel();
      sent = await send(request, url, door, upstream, bytes, caller, leaving, around.env);
    }
  } catch (error) {
    const left = leaving.signal.aborted;
    end(null, { outcome: left ? "client_left" : "unreachable", status: null, error: error instanceof Error ? error.message.slice(0, 300) : "no answer" });
    throw error;
  }
  const { response, retries } = sent;
  const { status, headers, body } = response;
  // A redirect is the agent's to read, and no answer of a model.
  const failed = status >= 300;
  if (!body) {
    end(null, { outcome: failed ? "failed" : "completed", status, retries });
    return new Response(null, { status, headers });
  }
  const streamed = /event-stream/i.test(headers.get("content-type") ?? "");
  const meter = new Meter(kind.api, streamed, open.facts.size.bytes);
  const passed = passOn(body, meter, asks && streamed && !failed, leaving);
  around.waitUntil(
    passed.done.then(({ counted, outcome, error, first }) => {
      end(failed ? null : counted, { outcome: failed ? "failed" : outcome, status, error: failed ? counted.error : error, retries, first });
    }),
  );
  return new Response(passed.body, { status, statusText: response.statusText, headers });
}

async function keepUp(open: Admitted, { source, agent_config_id, host }: Upstream, caller: Caller, { env }: Surroundings): Promise<void> {
  // One that is not heard is made up for by the next.
  await reach(() => sessionStub(env, caller.session_id).keepCall(open.id, { key_source: source, agent_config_id, upstream: host })).catch(() => {});
  if (open.tenants) await reach(() => tenantStub(env, open.grant.tenant_id).keepModelCall(open.id)).catch(() => {});
}

interface Ended {
  outcome: CallOutcome;
  status: number | null;
  error?: string | null;
  retries?: number;
  first?: number | null;
}

function reportOf(open: Admitted, kind: Kind, upstream: Upstream | null, counted: Counted | null): CallReport {
  const tokens = counted?.tokens ?? NO_TOKENS;
  const { facts, price } = open;
  return {
    id: open.id, api: kind.api, model: counted?.model ?? facts.model, stream: facts.stream, upstream: upstream?.host ?? "none", key_source: upstream?.source ?? "deployment", agent_config_id: upstream?.agent_config_id ?? null,
    outcome: "completed", status: null, stop_reason: counted?.stop_reason ?? null, input_tokens: tokens.input, output_tokens: tokens.output, cache_read_tokens: tokens.cache_read, cache_write_tokens: tokens.cache_write,
    reasoning_tokens: tokens.reasoning, cost_usd: price.price ? costOf(price.price, tokens) : counted ? null : 0, priced: price.price !== null || !counted, price_version: price.version, estimated: counted?.estimated ?? false,
    retries: 0, ttft_ms: null, duration_ms: performance.now() - open.started, error: null,
  };
}

/** Tells tenant and session how the call ended; what is not heard, they settle by themselves after a while. */
async function settle(open: Admitted, kind: Kind, caller: Caller, { env, log }: Surroundings, upstream: Upstream | null, ended: Ended, counted: Counted | null = null): Promise<void> {
  const { outcome, status, error = null, retries = 0, first = null } = ended;
  const report: CallReport = { ...reportOf(open, kind, upstream, counted), outcome, status, error, retries, ttft_ms: first === null ? null : first - open.started };
  let notices: BudgetNotice[] = [];
  try {
    if (open.tenants) {
      const tokens = report.input_tokens + report.cache_read_tokens + report.cache_write_tokens + report.output_tokens;
      notices = await reach(() => tenantStub(env, open.grant.tenant_id).settleModelCall(open.id, { cost_usd: report.cost_usd ?? 0, tokens }));
    }
  } catch (problem) {
    log.warn("model call not settled with its tenant", { request_id: open.id, ...describe(problem) });
  }
  try {
    await reach(() => sessionStub(env, caller.session_id).settleCall(report, notices));
  } catch (problem) {
    log.warn("model call not settled with its session", { request_id: open.id, ...describe(problem) });
  }
}
