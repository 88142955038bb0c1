/** Owns the one error table: code → status, whether to try again, and what to do; and the result type that crosses RPC. */

import * as z from "zod";

export const ERRORS = {
  bad_request: { status: 400, retryable: false, title: "The request is not valid" },
  unauthorized: { status: 401, retryable: false, title: "The token is missing, unknown, expired or revoked" },
  budget_exceeded: { status: 402, retryable: false, title: "The budget is used up" },
  forbidden: { status: 403, retryable: false, title: "The key's scopes do not cover this" },
  not_found: { status: 404, retryable: false, title: "Nothing of that id here" },
  conflict: { status: 409, retryable: false, title: "The state does not allow this" },
  payload_too_large: { status: 413, retryable: false, title: "The body is too large" },
  rate_limited: { status: 429, retryable: true, title: "Too many requests" },
  internal_error: { status: 500, retryable: true, title: "A fault of ours" },
  unavailable: { status: 503, retryable: true, title: "A part that this needs is not there now" },
} as const;

export const errorCode = z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]);
export type ErrorCode = keyof typeof ERRORS;

/** What a client is told: never a stack. `details` names fields (`{field: why}`) or says what was decided instead. */
export const errorBody = z.object({
  code: errorCode,
  message: z.string(),
  details: z.record(z.string(), z.unknown()).optional(),
  hint: z.string().optional(),
  request_id: z.string().optional(),
});
export type ErrorBody = z.infer<typeof errorBody>;
export const errorResponse = z.object({ error: errorBody });

/** An expected failure; doors turn it into its table row, everything else into `internal_error`. */
export class Failure extends Error {
  readonly code: ErrorCode;
  readonly details: Record<string, unknown> | undefined;
  readonly hint: string | undefined;
  constructor(code: ErrorCode, message: string, more: { details?: Record<string, unknown>; hint?: string } = {}) {
    super(message);
    this.name = "Failure";
    this.code = code;
    this.details = more.details;
    this.hint = more.hint;
  }
  get status(): number {
    return ERRORS[this.code].status;
  }
  toBody(requestId?: string): ErrorBody {
    return {
      code: this.code,
      message: this.message,
      ...(this.details && { details: this.details }),
      ...(this.hint && { hint: this.hint }),
      ...(requestId && { request_id: requestId }),
    };
  }
}

/** What an RPC between objects answers: classes do not survive the way, so failures travel as data. */
export type Result<T> = { ok: true; value: T } | { ok: false; error: ErrorBody };

export function ok<T>(value: T): Result<T> {
  return { ok: true, value };
}
export function fail(code: ErrorCode, message: string, more: { details?: Record<string, unknown>; hint?: string } = {}): { ok: false; error: ErrorBody } {
  return { ok: false, error: { code, message, ...more } };
}
/** The value, or throws the failure that the result carries. */
export function unwrap<T>(result: Result<T>): T {
  if (result.ok) return result.value;
  const { code, message, details, hint } = result.error;
  throw new Failure(code, message, { ...(details && { details }), ...(hint && { hint }) });
}

/** Turns a schema's complaint into `bad_request` naming each field: `{ "labels.team": "expected string" }`. */
export function invalid(error: z.ZodError, what = "body"): Failure {
  const named = new Map<string, string>();
  for (const issue of error.issues.slice(0, 20)) {
    const path = issue.path.map(String).join(".");
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys.slice(0, 20)) named.set(path ? `${path}.${key}` : key, "unknown field");
    } else named.set(path || what, issue.code === "invalid_key" ? (issue.issues[0]?.message ?? issue.message) : issue.message);
  }
  const fields = [...named].map(([field, why]) => `${field}: ${why}`);
  // Made from entries, so that a field called `__proto__` is named like any other.
  return new Failure("bad_request", `${what} is not valid: ${fields.slice(0, 3).join("; ")}`, { details: Object.fromEntries(named) });
}
