/** Owns what every creating POST shares: idempotency keys, rate limits, and ids that are the same on every try. */

import { tenantStub } from "../../durable-objects/index.ts";
import { Failure, newBody, PREFIXES, timeOf, type Resource } from "../../sdk/protocol/index.ts";
import { reach } from "../calls.ts";
import type { Ctx } from "../context.ts";
import { open, seal } from "../seal.ts";

const MAX_KEY_CHARS = 255;
/** Longest answer that is remembered: a row of a Durable Object holds 2 MB, and a character may take four bytes. */
const MAX_KEPT_CHARS = 500_000;

/** Ids for what a create makes. */
export interface NewIds {
  id(resource: Resource): string;
  child(resource: "task" | "schedule" | "capsule", sessionId: string): string;
  /** Creation time of these ids. */
  readonly now: Date;
}

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const TIME_CHARS = 8;

/** Ids that depend on nothing but `seed`, an id body: its time stays, its random part is mixed with each resource's name. */
async function idsOf(seed: string): Promise<NewIds> {
  const bodies = new Map<Resource, string>();
  for (const resource of Object.keys(PREFIXES) as Resource[]) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${resource}/${seed}`)));
    // 13 of 32 bytes; modulo 62 costs under a tenth of a bit of each digit.
    bodies.set(resource, seed.slice(0, TIME_CHARS) + Array.from(digest.slice(0, 13), (byte) => DIGITS[byte % 62]).join(""));
  }
  const body = (resource: Resource) => bodies.get(resource) ?? seed;
  return {
    id: (resource) => `${PREFIXES[resource]}_${body(resource)}`,
    child: (resource, sessionId) => `${PREFIXES[resource]}_${sessionId.slice(PREFIXES.session.length + 1)}${body(resource)}`,
    now: new Date(timeOf(`seed_${seed}`)),
  };
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

interface Creating<T> {
  /** The object that remembers idempotency keys and counts: a tenant's id, or `deployment` for what belongs to none. */
  owner: string;
  /** Whose idempotency keys these are: an API key's id, or `master`. */
  scope: string;
  /** Takes one token of this minute. */
  counts?: { keyId: string; what: "sessions" | "tasks" };
  /** The answer shows a token once: what is remembered of it is sealed. */
  secret?: boolean;
  /** What is not remembered, because the same request brings it again: taken out before, put back after. */
  again?: { leaveOut: (made: T) => T; putBack: (kept: T) => T };
}

async function admit(c: Ctx, owner: string, { keyId, what }: { keyId: string; what: "sessions" | "tasks" }): Promise<void> {
  const admission = await reach(() => tenantStub(c.env, owner).admit(keyId, what));
  c.header("x-ratelimit-limit", String(admission.limit));
  c.header("x-ratelimit-remaining", String(admission.admitted ? admission.remaining : 0));
  c.header("x-ratelimit-reset", String(Math.ceil(admission.admitted ? admission.reset_seconds : admission.retry_after_seconds)));
  if (!admission.admitted) {
    throw new Failure("rate_limited", `This key may create ${admission.limit} ${what} a minute`, { details: { limit: admission.limit, retry_after_seconds: Math.max(1, Math.ceil(admission.retry_after_seconds)) } });
  }
}

/**
 * Runs a create once. With an `Idempotency-Key` the same key and body answers the same for 24 h, and a try that died half-way is
 * taken up with the same ids; the same key with another body is a conflict. Answers what `make` made, or had made.
 */
export async function creating<T>(c: Ctx, options: Creating<T>, make: (ids: NewIds) => Promise<T>): Promise<T> {
  const key = c.req.header("idempotency-key");
  if (key === undefined) {
    if (options.counts) await admit(c, options.owner, options.counts);
    return make(await idsOf(newBody(Date.now())));
  }
  if (key.length === 0 || key.length > MAX_KEY_CHARS) throw new Failure("bad_request", `Idempotency-Key: 1 to ${MAX_KEY_CHARS} characters`, { details: { "idempotency-key": `1 to ${MAX_KEY_CHARS} characters` } });
  const hash = await sha256(`${c.req.method} ${c.req.path}\n${await c.req.text()}`);
  const begun = await reach(() => tenantStub(c.env, options.owner).begin(options.scope, key, hash));
  if (begun.state === "other_body") throw new Failure("conflict", "This Idempotency-Key was used with another request", { details: { "idempotency-key": "used with another body" } });
  if (begun.state === "done") {
    c.header("idempotency-replayed", "true");
    const kept = JSON.parse(options.secret ? await open(c.env, begun.body) : begun.body) as T;
    return options.again?.putBack(kept) ?? kept;
  }
  if (options.counts) await admit(c, options.owner, options.counts);
  const made = await make(await idsOf(begun.seed));
  const body = JSON.stringify(options.again?.leaveOut(made) ?? made);
  const kept = options.secret ? await seal(c.env, body) : body;
  // What is too large to remember stays open: a repeat makes nothing new, for its ids are the same, and answers with what is there by then.
  if (kept.length <= MAX_KEPT_CHARS) await reach(() => tenantStub(c.env, options.owner).finish(options.scope, key, 201, kept));
  return made;
}
