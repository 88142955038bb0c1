/** Owns requests made from the API's own document: for every route a valid shape with one thing wrong, or plain garbage, all from one seed. */

import * as fc from "fast-check";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type Schema = { [key: string]: Json };
interface Parameter {
  name: string;
  in: string;
  schema?: Schema;
}
export interface Operation {
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema: Schema }> };
}
export interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}
export interface Route {
  path: string;
  method: string;
  params: string[];
  query: string[];
  /** A body that the schema takes; null where the route has none. */
  body: { [key: string]: Json } | null;
}
export interface FuzzRequest {
  path: string;
  headers: Record<string, string>;
  body: string | undefined;
}

/** Every route of the document, with one valid body each. `ids` gives a real id for a prefix. */
export function routesOf(document: Document, ids: Record<string, string>): Route[] {
  const resolve = (schema: Schema): Schema => {
    const name = typeof schema["$ref"] === "string" ? schema["$ref"].split("/").at(-1) : undefined;
    return name === undefined ? schema : (document.components.schemas[name] ?? {});
  };
  function sample(given: Schema): Json {
    const schema = resolve(given);
    const one = (name: string) => (Array.isArray(schema[name]) ? schema[name][0] : undefined);
    if (schema["default"] !== undefined) return schema["default"];
    if (schema["const"] !== undefined) return schema["const"];
    const chosen = one("enum");
    if (chosen !== undefined) return chosen;
    for (const word of ["anyOf", "oneOf", "allOf"]) {
      const first = one(word);
      if (first !== undefined) return sample(first as Schema);
    }
    switch (schema["type"]) {
      case "object": return Object.fromEntries(Object.entries((schema["properties"] ?? {}) as Record<string, Schema>).map(([name, each]) => [name, sample(each)]));
      case "array": return [];
      case "integer":
      case "number": return Math.max(1, Number(schema["minimum"] ?? 1));
      case "boolean": return true;
      case "string": return ids[/^\^([a-z]+)_/.exec(typeof schema["pattern"] === "string" ? schema["pattern"] : "")?.[1] ?? ""] ?? "word";
      default: return null;
    }
  }
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const schema = operation.requestBody?.content["application/json"]?.schema;
      const body = schema && sample(schema);
      return {
        path, method,
        params: [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? ""),
        query: (operation.parameters ?? []).filter((parameter) => parameter.in === "query").map(({ name }) => name),
        body: typeof body === "object" && body !== null && !Array.isArray(body) ? body : null,
      };
    }),
  );
}

/** Words that break parsers, paths, numbers and databases. */
const WORDS = [
  "", " ", "0", "-1", "-9999999999", "1e309", "NaN", "null", "true", "__proto__", "constructor", "toString", "..", "../../etc/passwd", "%", "a\0b", "\ud800", "\udfff\ud800", "🤖", "' or 1=1 --",
  "x".repeat(5_000), "9007199254740993", "99999999999999999999999", "[object Object]", "{}", "a:b", "a,b,,", "*", "\u202e", "2026-13-45T99:99:99Z", "2147483648",
];
export const word = fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...WORDS) }, fc.string({ unit: "binary", maxLength: 40 }), fc.double().map(String));
const value: fc.Arbitrary<Json> = fc.oneof(word, fc.constantFrom<Json>(null, true, -1, 0, 1.5, 1e300, -(2 ** 53), 2 ** 53, [], {}, [[[]]], { constructor: 1 }), fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>);

type Path = (string | number)[];
function placesOf(json: Json, at: Path = []): Path[] {
  if (typeof json !== "object" || json === null) return [at];
  return [at, ...Object.entries(json).flatMap(([key, each]) => placesOf(each, [...at, key]))];
}
function replaced(json: Json, [key, ...rest]: Path, by: Json | undefined): Json | undefined {
  if (key === undefined) return by;
  const entries = Object.entries(json as { [key: string]: Json }).flatMap(([name, each]) => {
    const next = name === String(key) ? replaced(each, rest, by) : each;
    return next === undefined ? [] : [[name, next] as const];
  });
  return Array.isArray(json) ? entries.map(([, each]) => each) : Object.fromEntries(entries);
}

/** A valid body with one thing wrong, as text. */
function mutated(body: { [key: string]: Json }): fc.Arbitrary<string> {
  const text = JSON.stringify(body);
  const places = placesOf(body);
  return fc.oneof(
    { weight: 4, arbitrary: fc.tuple(fc.constantFrom(...places), value).map(([place, by]) => JSON.stringify(replaced(body, place, by))) },
    fc.constantFrom(...places).map((place) => JSON.stringify(replaced(body, place, undefined)) ?? ""),
    fc.tuple(word, value).map(([name, by]) => JSON.stringify(Object.fromEntries([...Object.entries(body), [name, by]]))),
    fc.constantFrom(`{"__proto__":{"admin":true},${text.slice(1)}`, `${text}${text}`, `[${text}]`, `\ufeff${text}`, text.slice(0, -1), text.replace(/:\d+/, ":1e999"), "[".repeat(100_000), '{"a":'.repeat(100_000)),
    fc.string({ unit: "binary", maxLength: 100 }),
  );
}

/** Requests to a route: parameters real, of another kind or garbage; odd queries and headers; a body with one thing wrong. */
export function requestsTo(route: Route, ids: readonly string[]): fc.Arbitrary<FuzzRequest> {
  const param = fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...ids) }, word);
  const query = fc.array(fc.tuple(fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...route.query, "x", "limit", "cursor") }, word), fc.oneof(param, word)), { maxLength: 4 });
  const headers = fc.constantFrom<Record<string, string>>(
    {}, {}, {}, { "idempotency-key": "k" }, { "idempotency-key": "x".repeat(256) }, { "last-event-id": "-1" }, { "last-event-id": "9".repeat(40) }, { accept: "text/plain" }, { accept: "text/event-stream" }, { accept: "image/png" },
    { "content-type": "text/plain" }, { "content-type": "application/json; charset=utf-16" }, { "content-type": "multipart/form-data" }, { authorization: "Bearer" }, { authorization: "Basic eDp5" }, { authorization: "Bearer mk_nobodys" },
  );
  const body = route.body ? fc.option(mutated(route.body), { nil: undefined, freq: 10 }) : route.method === "get" ? fc.constant(undefined) : fc.option(fc.constantFrom("{}", "[", '{"unknown":1}', "null"), { nil: undefined });
  const escape = (text: string) => encodeURIComponent(text.toWellFormed());
  return fc.record({ params: fc.array(param, { minLength: route.params.length, maxLength: route.params.length }), query, headers, body }).map(({ params, query, headers, body }) => {
    const left = [...params];
    const path = route.path.replaceAll(/\{\w+\}/g, () => escape(left.shift() ?? "") || "%20");
    const search = query.map(([name, each]) => `${escape(name)}=${escape(each)}`).join("&");
    return { path: search ? `${path}?${search}` : path, headers, body };
  });
}
