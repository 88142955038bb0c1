/** Owns the selector's language: `gpu=nvidia,vram>=16GB,os!=linux`, parsed into conditions and held against what a host says of itself. Pure. */

import { fail, ok, type HostInfo, type Result } from "../../sdk/protocol/index.ts";

const OPERATORS = ["!=", ">=", "<=", "=", ">", "<"] as const;
export type Operator = (typeof OPERATORS)[number];

export interface Condition {
  key: string;
  operator: Operator;
  value: string;
}

const PART = /^([A-Za-z0-9][A-Za-z0-9._/-]{0,62})\s*(!=|>=|<=|=|>|<)\s*([^=<>!\s](?:[^=<>!]{0,253}[^=<>!\s])?)$/;
const QUANTITY = /^(\d{1,15}(?:\.\d{1,6})?)\s*(KB|MB|GB|TB)?$/i;
/** Units of memory are powers of 1,024, as operating systems count it. */
const UNITS: Record<string, number> = { KB: 1_024, MB: 1_024 ** 2, GB: 1_024 ** 3, TB: 1_024 ** 4 };

/** The number that a text such as `16GB`, `512 MB` or `8` stands for (bytes where it has a unit); null where it is none. */
export function quantity(text: string): number | null {
  const match = QUANTITY.exec(text.trim());
  if (!match) return null;
  return Number(match[1]) * (match[2] ? (UNITS[match[2].toUpperCase()] ?? 1) : 1);
}

/** Conditions that must all hold; `bad_request` names the part that is none. No selector, no condition. */
export function parseSelector(selector: string | null): Result<Condition[]> {
  if (selector === null) return ok([]);
  const conditions: Condition[] = [];
  for (const raw of selector.split(",")) {
    const part = raw.trim();
    const match = PART.exec(part);
    if (!match) return bad(part, "expected key=value, key!=value, or key>=number (also <=, >, <)");
    const [, key, operator, value] = match as unknown as [string, string, Operator, string];
    if (operator !== "=" && operator !== "!=" && quantity(value) === null) return bad(part, `'${value}' is no number; expected digits with KB, MB, GB, TB or nothing`);
    conditions.push({ key, operator, value });
  }
  return ok(conditions);
}

function bad(part: string, why: string) {
  const shown = part.slice(0, 100);
  return fail("bad_request", `selector: '${shown}' is not a condition: ${why}`, { details: { selector: `'${shown}': ${why}` } });
}

/** What a host's selectors see: its labels, and `os`, `arch`, `host`, `cpus` and `memory` where no label of that name says otherwise. */
export function attributes(info: HostInfo): Record<string, string> {
  return { os: info.os, arch: info.arch, host: info.name, cpus: String(info.cpus), memory: `${info.memory_mb}MB`, ...info.labels };
}

/** True where every condition holds. A key that the host does not have is unequal to everything and in no order with anything. */
export function matches(conditions: readonly Condition[], has: Readonly<Record<string, string>>): boolean {
  return conditions.every(({ key, operator, value }) => {
    const own = Object.hasOwn(has, key) ? (has[key] ?? null) : null;
    if (operator === "!=") return own === null || !same(own, value);
    if (own === null) return false;
    if (operator === "=") return same(own, value);
    const left = quantity(own);
    const right = quantity(value);
    if (left === null || right === null) return false;
    if (operator === ">=") return left >= right;
    if (operator === "<=") return left <= right;
    return operator === ">" ? left > right : left < right;
  });
}

/** Equal as text, or as numbers: `16GB` is `16384MB`. */
function same(a: string, b: string): boolean {
  if (a === b) return true;
  const left = quantity(a);
  return left !== null && left === quantity(b);
}
