/** Owns resource ids: `{prefix}_{time}{random}`, sortable by creation, children of a session carrying the session's body inside. */

import * as z from "zod";

export const PREFIXES = {
  tenant: "ten",
  session: "sess",
  task: "task",
  run: "trun",
  permission: "perm",
  runner: "run",
  host: "host",
  pool: "pool",
  key: "key",
  runner_token: "rtk",
  workspace: "ws",
  manifest: "mfst",
  capsule: "cap",
  schedule: "schd",
  audit: "aud",
  agent_config: "acfg",
  budget: "bud",
  model_request: "mreq",
  attachment: "att",
} as const;

export type Resource = keyof typeof PREFIXES;

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** 62^8 ms reach the year 8889; the width is fixed, so ids sort as strings by creation. */
const TIME_CHARS = 8;
/** 13 base-62 digits carry 77 bits. */
const RANDOM_CHARS = 13;
export const BODY_CHARS = TIME_CHARS + RANDOM_CHARS;

/** Resources whose ids hold their session's body before their own. */
const CHILDREN: ReadonlySet<Resource> = new Set<Resource>(["task", "run", "permission", "capsule", "schedule"]);

function time(now: number): string {
  let rest = Math.floor(now);
  let out = "";
  for (let i = 0; i < TIME_CHARS; i++) {
    out = DIGITS[rest % 62] + out;
    rest = Math.floor(rest / 62);
  }
  return out;
}

/** Random bytes are asked for in stock: each asking costs more than an id. */
const stock = new Uint8Array(1_024);
let taken = stock.length;

function random(): string {
  let out = "";
  while (out.length < RANDOM_CHARS) {
    if (taken === stock.length) {
      crypto.getRandomValues(stock);
      taken = 0;
    }
    const byte = stock[taken++] as number;
    // 248 = 4 * 62: bytes past it would favour the first digits.
    if (byte < 248) out += DIGITS[byte % 62];
  }
  return out;
}

/** A fresh id body for `now` (epoch milliseconds). */
export function newBody(now: number): string {
  return time(now) + random();
}

/** A fresh id of a resource that stands alone. */
export function newId(resource: Resource, now: number): string {
  return `${PREFIXES[resource]}_${newBody(now)}`;
}

/** A fresh id of a task, run, permission, capsule or schedule of `sessionId`; throws where `sessionId` is not a session's id. */
export function newChildId(resource: "task" | "run" | "permission" | "capsule" | "schedule", sessionId: string, now: number): string {
  return `${PREFIXES[resource]}_${bodyOf(sessionId)}${newBody(now)}`;
}

function bodyOf(sessionId: string): string {
  const body = sessionId.slice(PREFIXES.session.length + 1);
  if (!isId("session", sessionId)) throw new TypeError(`not a session id: ${sessionId.slice(0, 40)}`);
  return body;
}

function pattern(resource: Resource): RegExp {
  const chars = CHILDREN.has(resource) ? BODY_CHARS * 2 : BODY_CHARS;
  return new RegExp(`^${PREFIXES[resource]}_[0-9A-Za-z]{${chars}}$`);
}

const PATTERNS = Object.fromEntries(Object.keys(PREFIXES).map((r) => [r, pattern(r as Resource)])) as Record<Resource, RegExp>;

export function isId(resource: Resource, value: string): boolean {
  return PATTERNS[resource].test(value);
}

/** The session's id that a child's id carries; null where the value is no child's id. */
export function sessionOf(childId: string): string | null {
  for (const resource of CHILDREN) {
    if (isId(resource, childId)) {
      const from = PREFIXES[resource].length + 1;
      return `${PREFIXES.session}_${childId.slice(from, from + BODY_CHARS)}`;
    }
  }
  return null;
}

/** Creation time of an id, epoch milliseconds. */
export function timeOf(id: string): number {
  const body = id.slice(id.indexOf("_") + 1);
  const own = body.slice(body.length - BODY_CHARS, body.length - RANDOM_CHARS);
  return Array.from(own).reduce((sum, c) => sum * 62 + DIGITS.indexOf(c), 0);
}

/** Schema of one resource's id. */
export function idOf(resource: Resource) {
  return z.string().regex(PATTERNS[resource], `not a ${resource} id (${PREFIXES[resource]}_…)`);
}
