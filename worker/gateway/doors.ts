/** Owns which requests the gateway carries: its three doors, what each path is, and where it goes upstream. Pure. */

import type { ModelApi, ProviderApi } from "../../sdk/protocol/index.ts";

export interface Door {
  kind: "anthropic" | "openai" | "compatible";
  /** Name of the agent config, at `/gateway/compatible/{name}`. */
  config: string | null;
  /** What follows, with its slash: `/v1/messages`. */
  path: string;
}

/** The door that a path opens; null where it is none. */
export function doorOf(pathname: string): Door | null {
  const [, gateway, kind, ...rest] = pathname.split("/");
  if (gateway !== "gateway" || (kind !== "anthropic" && kind !== "openai" && kind !== "compatible")) return null;
  // Only the plain form goes upstream: nothing that another server may read as another path.
  if (rest.some((part) => part === "." || part === ".." || /%2f|%5c|%00|\\/i.test(part))) return null;
  if (kind !== "compatible") return { kind, config: null, path: rest.length === 0 ? "/" : `/${rest.join("/")}` };
  const [name = "", ...path] = rest;
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name) ? { kind, config: name, path: path.length === 0 ? "/" : `/${path.join("/")}` } : null;
}

/** How a request is carried: `metered` calls reserve and are counted; `free` ones cost nothing; `blind` ones may cost what nobody can count. */
export interface Kind {
  api: ModelApi;
  carried: "metered" | "free" | "blind";
}

const METERED: [RegExp, ModelApi][] = [
  [/^(\/v1)?\/messages$/, "anthropic.messages"],
  [/^(\/v1)?\/responses(\/compact)?$/, "openai.responses"],
  [/^(\/v1)?\/chat\/completions$/, "openai.chat"],
];
/** Requests by POST that a provider makes no charge for. */
const FREE = [/^(\/v1)?\/messages\/count_tokens$/, /^(\/v1)?\/responses\/input_tokens$/, /^(\/v1)?\/responses\/[^/]+\/cancel$/, /^\/api\/event_logging\//];

export function kindOf(method: string, path: string): Kind {
  if (method !== "POST") return { api: "other", carried: "free" };
  const api = METERED.find(([pattern]) => pattern.test(path))?.[1];
  if (api) return { api, carried: "metered" };
  return { api: "other", carried: FREE.some((pattern) => pattern.test(path)) ? "free" : "blind" };
}

/** The wire that a request speaks, as far as its door or path says. */
export function speaks(door: Door): ProviderApi | null {
  if (door.kind !== "compatible") return door.kind;
  return /^(\/v1)?\/messages(\/|$)/.test(door.path) ? "anthropic" : null;
}

/** Base address and path as one: a `/v1` that both have is there once. */
export function join(base: string, path: string, search: string): string {
  const root = base.replace(/\/+$/, "");
  const rest = root.endsWith("/v1") && (path === "/v1" || path.startsWith("/v1/")) ? path.slice(3) : path;
  return `${root}${rest === "/" ? "" : rest}${search}`;
}

/** The token of a request's key, and where it stood. */
export interface Presented {
  key: string;
  where: "x-api-key" | "authorization";
}
export function presented(headers: Headers): Presented | null {
  const own = headers.get("x-api-key");
  if (own !== null) return { key: own, where: "x-api-key" };
  const bearer = /^Bearer +(\S+)$/i.exec(headers.get("authorization") ?? "")?.[1];
  return bearer === undefined ? null : { key: bearer, where: "authorization" };
}
