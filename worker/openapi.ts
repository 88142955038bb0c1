/** Owns how routes are described: named schemas, the answers that all share, what each asks of a key, and the document made of it. */

// Loaded for its effect too: it gives every schema made from here on the method `openapi`.
import "@hono/zod-openapi";
import type { OpenAPIHono } from "@hono/zod-openapi";
import * as z from "zod";
import { ERRORS, errorResponse, json, pageOf, type ErrorCode, type KeyScope } from "../sdk/protocol/index.ts";
import type { AppEnv } from "./context.ts";
import { mastered, needs } from "./middleware/auth.ts";

/** Named schemas, and whether they describe what clients send or what they get. */
const schemas = new Map<string, { schema: z.ZodType; io: "input" | "output" }>();

/** Gives a schema its name in the document. */
export function named<T extends z.ZodType>(name: string, schema: T, io: "input" | "output" = "output"): T {
  schemas.set(name, { schema, io });
  // The generator stops here; the component itself comes from zod's own JSON Schema, which knows every constraint.
  // The protocol's schemas may be older than the method: their copy is not.
  return schema.clone().openapi(name, { type: "object" });
}

const ErrorBody = named("Error", errorResponse);

const one = <T extends z.ZodType>(schema: T) => ({ "application/json": { schema } });
/** The JSON answer of a route. */
export function answers<T extends z.ZodType>(schema: T, description: string) {
  return { content: one(schema), description };
}
/** A page as JSON, or what follows as a stream or a socket. */
export function streams<T extends z.ZodType>(page: T) {
  const text = { schema: z.string() };
  return { 101: { description: "A WebSocket of frames, on Upgrade" }, 200: { content: { ...one(page), "text/event-stream": text, "text/plain": text }, description: "A page, or the stream" } };
}
/** A page of a list. */
export function pages<T extends z.ZodType>(item: T, description: string) {
  return answers(pageOf(item), description);
}
/** A JSON body that must be there, named in the document. */
export function takes<T extends z.ZodType>(name: string, schema: T) {
  return { body: { required: true as const, content: one(named(name, schema, "input")) } };
}

type FailureAnswer = { content: { "application/json": { schema: typeof errorResponse } }; description: string };
const ALWAYS: ErrorCode[] = ["bad_request", "unauthorized", "forbidden", "internal_error", "unavailable"];
/** The failures that a route may answer, beside those that every route may. */
export function failures(...codes: ErrorCode[]) {
  const answers = [...new Set([...ALWAYS, ...codes])].map((code) => [String(ERRORS[code].status), { content: one(ErrorBody), description: ERRORS[code].title }]);
  return Object.fromEntries(answers) as Record<(typeof ERRORS)[ErrorCode]["status"], FailureAnswer>;
}

/** For routes of the API: the scope that the key needs. */
export function keyed(scope: KeyScope) {
  return { security: [{ api_key: [scope] }], middleware: [needs(scope)] };
}
/** For routes of the administration. */
export function administered() {
  return { security: [{ master_key: [] }], middleware: [mastered] };
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Any JSON is described as anything: its recursion says no more. */
function plain(value: Json): Json {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  if (typeof value["$ref"] === "string" && !value["$ref"].startsWith("#/components/")) return {};
  return Object.fromEntries(Object.entries(value).filter(([key]) => !["$schema", "$id", "$defs"].includes(key)).map(([key, each]) => [key, plain(each)]));
}

function component({ schema, io }: { schema: z.ZodType; io: "input" | "output" }): Json {
  const open = (at: { zodSchema: unknown; jsonSchema: { additionalProperties?: unknown } }) => {
    // Answers may gain fields: clients must not refuse what they do not know.
    if (io === "output" && at.zodSchema !== json && at.jsonSchema.additionalProperties === false) delete at.jsonSchema.additionalProperties;
  };
  return plain(z.toJSONSchema(schema, { io, unrepresentable: "any", override: open }) as Json);
}

export interface Document {
  openapi: string;
  info: { title: string; version: string; description?: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Json>; securitySchemes: Record<string, Json> };
}
export interface Operation {
  summary?: string;
  description?: string;
  tags?: string[];
  security?: Record<string, string[]>[];
  parameters?: { name: string; in: string; required?: boolean; description?: string; schema?: Json }[];
  requestBody?: { required?: boolean; content: Record<string, { schema: Json }> };
  responses: Record<string, { description: string; content?: Record<string, { schema: Json }> }>;
}

/** The OpenAPI 3.1 document of all routes that `app` has. */
export function documentOf(app: OpenAPIHono<AppEnv>): Document {
  const made = app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Marionette",
      version: "1",
      description: "Runs coding agents in isolated sandboxes; lets people and programs drive, watch and trust them. Lists are newest first. Every failure is an object error with code, message, details, hint and request_id.",
    },
  }) as unknown as Document;
  return {
    ...made,
    components: {
      ...made.components,
      schemas: { ...made.components.schemas, ...Object.fromEntries([...schemas].map(([name, described]) => [name, component(described)])) },
      securitySchemes: {
        api_key: { type: "http", scheme: "bearer", bearerFormat: "mk_…", description: "An API key with the scope named; a browser's WebSocket brings it as the subprotocol `marionette.key.<key>`." },
        master_key: { type: "http", scheme: "bearer", description: "The deployment's master key." },
        runner_token: { type: "http", scheme: "bearer", bearerFormat: "rtok_…", description: "A host's runner token." },
        run_token: { type: "http", scheme: "bearer", bearerFormat: "gtok_…", description: "One runner's token for one attachment to a session." },
      },
    },
  };
}
