/** Owns how every failure leaves the worker: its row of the error table as JSON, and never a stack. */

import { HTTPException } from "hono/http-exception";
import type * as z from "zod";
import { ERRORS, Failure, invalid, type ErrorBody, type ErrorCode } from "../../sdk/protocol/index.ts";
import type { Ctx } from "../context.ts";
import { databaseFailure } from "../db/client.ts";
import { describe } from "../log.ts";

function known(error: unknown): Failure | null {
  if (error instanceof Failure) return error;
  // The validators' own refusals: malformed JSON, a media type that no route takes.
  if (error instanceof HTTPException && error.status < 500) return new Failure("bad_request", `body: ${error.message || "not valid"}`, { details: { body: error.message || "not valid" } });
  return databaseFailure(error);
}

/** Seconds after which to come back, for the codes that are worth it. */
function retryAfter(body: ErrorBody): number | null {
  const told = body.details?.["retry_after_seconds"];
  if (typeof told === "number" && Number.isFinite(told)) return Math.max(1, Math.ceil(told));
  return body.code === "unavailable" ? 5 : null;
}

/** The answer to a failure. Unexpected errors are logged under the request's id and answered without detail. */
export function failed(error: unknown, c: Ctx): Response {
  const requestId = c.get("request_id");
  const failure = known(error);
  if (!failure || failure.code === "internal_error") c.get("log").error("request failed", { request_id: requestId, path: c.req.path, method: c.req.method, ...describe(error) });
  const body = failure?.toBody(requestId) ?? { code: "internal_error" as const, message: `${ERRORS.internal_error.title}; it is logged under the request's id`, request_id: requestId };
  const seconds = retryAfter(body);
  if (seconds !== null) c.header("retry-after", String(seconds));
  if (body.code === "unauthorized") c.header("www-authenticate", 'Bearer realm="marionette"');
  return c.json({ error: body }, ERRORS[body.code].status);
}

const PLACES: Record<string, string> = { json: "body", param: "path", query: "query", header: "header" };

/** The validators' hook: refuses with the names of the fields, and refuses a missing body where one is declared. */
export function validated(result: { success: boolean; target: string; error?: z.ZodError }, c: { req: { raw: Request } }): void {
  if (result.target === "json" && c.req.raw.body === null) throw new Failure("bad_request", "body: a JSON body is needed; send {} to take every default", { details: { body: "missing" } });
  if (!result.success && result.error) throw invalid(result.error, PLACES[result.target] ?? result.target);
}

/** Failure of an object's answer outside RPC (its refusal to upgrade a socket). */
export async function failureOf(response: Response): Promise<Failure> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as { error?: Partial<ErrorBody> };
    if (error?.code && error.code in ERRORS && error.message) return new Failure(error.code, error.message, { ...(error.details && { details: error.details }), ...(error.hint && { hint: error.hint }) });
  } catch {
    // not one of ours: its status must do
  }
  const code = (Object.keys(ERRORS) as ErrorCode[]).find((each) => ERRORS[each].status === response.status);
  return new Failure(code ?? "internal_error", code ? ERRORS[code].title : `unexpected answer ${response.status}`);
}
