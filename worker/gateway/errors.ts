/** Owns what the gateway itself answers when it refuses: in the shape of the upstream's own errors, so that every client understands it. */

import { ERRORS, type ErrorBody, type ErrorCode } from "../../sdk/protocol/index.ts";
import type { Door } from "./doors.ts";

/** Upstream's words for our codes. */
const ANTHROPIC: Partial<Record<ErrorCode, string>> = {
  bad_request: "invalid_request_error", unauthorized: "authentication_error", budget_exceeded: "billing_error", forbidden: "permission_error", not_found: "not_found_error",
  payload_too_large: "request_too_large", rate_limited: "rate_limit_error",
};
const OPENAI: Partial<Record<ErrorCode, string>> = {
  bad_request: "invalid_request_error", unauthorized: "invalid_request_error", budget_exceeded: "insufficient_quota", forbidden: "invalid_request_error", not_found: "invalid_request_error",
  payload_too_large: "invalid_request_error", rate_limited: "rate_limit_exceeded",
};

/** A refusal with a status of its own. `upstream` failures are 502. */
export interface Refusal extends ErrorBody {
  status?: number;
}

export function refused(door: Door | null, body: Refusal, requestId: string, headers: Record<string, string> = {}): Response {
  const status = body.status ?? ERRORS[body.code].status;
  const message = body.hint ? `${body.message}. ${body.hint}` : body.message;
  const anthropic = door?.kind === "anthropic" || (door?.kind === "compatible" && /\/messages(\/|$)/.test(door.path));
  const error = anthropic
    ? { type: "error", error: { type: ANTHROPIC[body.code] ?? "api_error", message, code: body.code }, request_id: requestId }
    : { error: { message, type: OPENAI[body.code] ?? "server_error", param: null, code: body.code }, request_id: requestId };
  const seconds = body.details?.["retry_after_seconds"];
  return Response.json(error, {
    status,
    headers: {
      "x-request-id": requestId, "request-id": requestId, "cache-control": "no-store", "x-marionette-error": body.code,
      // Nothing changes by asking again at once, and agents are told so; what may pass is told when.
      "x-should-retry": typeof seconds === "number" ? "true" : "false",
      ...(typeof seconds === "number" && { "retry-after": String(Math.max(1, Math.ceil(seconds))) }), ...headers,
    },
  });
}
