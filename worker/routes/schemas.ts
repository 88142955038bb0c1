/** Owns the schemas that several routes share: named resources, parameters and list filters. */

import * as z from "zod";
import {
  apiKey, apiKeyCreated, event, eventPage, fileEntry, host, idOf, logQuery, pageQuery, permission, run, runner, runnerToken, runnerTokenCreated, session, task, tenant, type Resource,
} from "../../sdk/protocol/index.ts";
import { named } from "../openapi.ts";

export const Session = named("Session", session);
export const Task = named("Task", task);
export const Run = named("Run", run);
export const Permission = named("Permission", permission);
export const Runner = named("Runner", runner);
export const Host = named("Host", host);
export const Key = named("ApiKey", apiKey);
export const KeyCreated = named("ApiKeyCreated", apiKeyCreated);
export const RunnerToken = named("RunnerToken", runnerToken);
export const RunnerTokenCreated = named("RunnerTokenCreated", runnerTokenCreated);
export const Tenant = named("Tenant", tenant);
export const Files = named("Files", z.object({ items: z.array(fileEntry) }));
export const LogPage = named("LogPage", eventPage);
export const BusPage = named(
  "BusPage",
  z.object({
    events: z.array(event),
    last_cursor: z.number().int(),
    next: z.number().int(),
    more: z.boolean(),
    /** Events with cursors in (`after`, `first`) are no longer kept. */
    gap: z.object({ after: z.number().int(), first: z.number().int() }).nullable().optional(),
  }),
);

/** `{id}` of a path. */
export function idParam(resource: Resource) {
  return { params: z.object({ id: idOf(resource) }) };
}

const flag = z.enum(["true", "false", "1", "0"]).transform((value) => value === "true" || value === "1");

/** `k:v` pairs, repeated or with commas. */
export const labelFilter = z.union([z.array(z.string()), z.string()]).transform((value, context) => {
  const labels: Record<string, string> = {};
  for (const pair of [value].flat().flatMap((part) => part.split(",")).filter(Boolean)) {
    const colon = pair.indexOf(":");
    if (colon < 1 || pair.includes("\0")) {
      context.addIssue({ code: "custom", message: "expected key:value pairs" });
      return z.NEVER;
    }
    labels[pair.slice(0, colon)] = pair.slice(colon + 1);
  }
  return labels;
});

/** A list's query: the page, and what it is filtered by; anything else is refused by name. */
export function listQuery<S extends z.ZodRawShape>(shape: S) {
  return { query: z.strictObject({ ...pageQuery.shape, ...shape }) };
}

/** A session's log: what to show, and whether to follow. `flow`, over a WebSocket: no more than a window until it is acknowledged. */
export const sessionLogQuery = z.strictObject({ ...logQuery.shape, follow: flag.optional(), flow: flag.optional() });
/** A task's log. */
export const taskLogQuery = sessionLogQuery.omit({ task_id: true });

export const busQuery = z.strictObject({
  after: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  limit: logQuery.shape.limit,
  types: logQuery.shape.types,
  labels: labelFilter.optional(),
  follow: flag.optional(),
  flow: flag.optional(),
});
