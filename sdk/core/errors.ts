/** Owns the client's errors: a class per status, each with the request's id, the hint and the details that the server gave. */

import type { ErrorCode } from "../protocol/index.ts";

/** Base of everything that the client throws by itself; an abort throws the signal's own reason instead. */
export class MarionetteError extends Error {
  override name = "MarionetteError";
}

/** The server could not be reached, or the connection broke before an answer. `cause` is the runtime's own error. */
export class ConnectionError extends MarionetteError {
  override name = "ConnectionError";
}

/** No answer within `timeout_ms`. */
export class TimeoutError extends ConnectionError {
  override name = "TimeoutError";
}

/** The answer was not of the shape that the API promises (often a proxy, or another server, at this address). */
export class ProtocolError extends MarionetteError {
  override name = "ProtocolError";
}

export interface ApiErrorFields {
  status: number;
  /** One of the protocol's codes; a newer server may send one that this client does not know. */
  code: ErrorCode | (string & {});
  message: string;
  hint: string | null;
  details: Record<string, unknown> | null;
  request_id: string | null;
  /** What `Retry-After` asked for, in milliseconds. */
  retry_after_ms: number | null;
}

/** The server answered with an error. */
export class ApiError extends MarionetteError {
  override name = "ApiError";
  readonly status: number;
  readonly code: ApiErrorFields["code"];
  readonly hint: string | null;
  readonly details: Record<string, unknown> | null;
  readonly request_id: string | null;
  readonly retry_after_ms: number | null;
  /** How often the call was made before this was its end. After more than one, an earlier attempt may have been carried out unheard. */
  attempts = 1;
  constructor(fields: ApiErrorFields) {
    super(fields.message);
    this.status = fields.status;
    this.code = fields.code;
    this.hint = fields.hint;
    this.details = fields.details;
    this.request_id = fields.request_id;
    this.retry_after_ms = fields.retry_after_ms;
  }
}

/** 400: `details` names the fields that are wrong. */
export class BadRequestError extends ApiError {
  override name = "BadRequestError";
}
/** 401: the key is missing, unknown, expired or revoked. */
export class UnauthorizedError extends ApiError {
  override name = "UnauthorizedError";
}
/** 402: the budget is used up. */
export class BudgetExceededError extends ApiError {
  override name = "BudgetExceededError";
}
/** 403: the key's scopes do not cover this. */
export class ForbiddenError extends ApiError {
  override name = "ForbiddenError";
}
/** 404: nothing of that id, or it belongs to another tenant. */
export class NotFoundError extends ApiError {
  override name = "NotFoundError";
}
/** 409: the state does not allow it; `details` says what was decided instead. */
export class ConflictError extends ApiError {
  override name = "ConflictError";
}
/** 413 */
export class PayloadTooLargeError extends ApiError {
  override name = "PayloadTooLargeError";
}
/** 429: `retry_after_ms` says when to come again. */
export class RateLimitedError extends ApiError {
  override name = "RateLimitedError";
}
/** 500 and other faults of the server. */
export class InternalServerError extends ApiError {
  override name = "InternalServerError";
}
/** 503 (and 502, 504 of a proxy): a part that this needs is not there now. */
export class UnavailableError extends ApiError {
  override name = "UnavailableError";
}

const BY_STATUS: Readonly<Record<number, typeof ApiError>> = {
  400: BadRequestError,
  401: UnauthorizedError,
  402: BudgetExceededError,
  403: ForbiddenError,
  404: NotFoundError,
  409: ConflictError,
  413: PayloadTooLargeError,
  429: RateLimitedError,
  502: UnavailableError,
  503: UnavailableError,
  504: UnavailableError,
};

const CODES: Readonly<Record<number, ErrorCode>> = {
  400: "bad_request",
  401: "unauthorized",
  402: "budget_exceeded",
  403: "forbidden",
  404: "not_found",
  409: "conflict",
  413: "payload_too_large",
  429: "rate_limited",
  500: "internal_error",
  503: "unavailable",
  502: "unavailable",
  504: "unavailable",
};

function record(value: unknown): Record<string, unknown> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
}
function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

/** The error that fields call for, as the class of their status. */
function apiError(fields: ApiErrorFields): ApiError {
  return new (BY_STATUS[fields.status] ?? (fields.status >= 500 ? InternalServerError : ApiError))(fields);
}

/** The error that a body `{code, message, …}` describes. */
export function errorFrom(value: unknown): ApiError {
  return apiError(fieldsOf(value));
}

/** Of the status where that is known, else of the code. */
function fieldsOf(value: unknown, status?: number): ApiErrorFields {
  const error = record(value);
  const code = text(error?.["code"]);
  const found = status ?? Number(Object.entries(CODES).find(([, each]) => each === code)?.[0] ?? 500);
  return {
    status: found,
    code: code ?? CODES[found] ?? (found >= 500 ? "internal_error" : "bad_request"),
    message: text(error?.["message"]) ?? `The server answered ${found}`,
    hint: text(error?.["hint"]),
    details: record(error?.["details"]),
    request_id: text(error?.["request_id"]),
    retry_after_ms: null,
  };
}

/**
 * The error of an answer: from `{"error": {…}}` where the body is that, else (a proxy's page, an empty body) from the status alone.
 * `now` (epoch milliseconds) turns a `Retry-After` date into a wait.
 */
export function errorOf(status: number, headers: Headers, body: string, now: number): ApiError {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    parsed = null;
  }
  const fields = fieldsOf(record(parsed)?.["error"], status);
  return apiError({ ...fields, request_id: fields.request_id ?? headers.get("x-request-id"), retry_after_ms: retryAfter(headers.get("retry-after"), now) });
}

/** Milliseconds that a `Retry-After` header (seconds, or an HTTP date) asks to wait; null where it says nothing. */
export function retryAfter(header: string | null, now: number): number | null {
  if (!header) return null;
  if (/^\d+(\.\d+)?$/.test(header.trim())) return Math.round(Number(header) * 1_000);
  const at = Date.parse(header);
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}
