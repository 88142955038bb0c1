/** Owns the interface of a model provider: one request becomes a stream of pieces with a whole answer at its end, or one `ModelError`. */

import type { AssistantMessage, Message } from "../history/messages.ts";
import type { Usage } from "../events.ts";
import type { JsonSchema } from "../tool.ts";

export interface ModelRequest {
  model: string;
  /** The system prompt in blocks, the one that changes least first; a provider may cache up to the end of each. */
  system: readonly string[];
  /** Every call in it has its result in the very next message. */
  messages: readonly Message[];
  tools: readonly { name: string; description: string; inputSchema: JsonSchema }[];
  /** Longest answer, in tokens; the provider's own limit for the model where it is not given. */
  maxOutputTokens?: number | undefined;
  /** How much the model is to think; the provider's own default where it is not given. */
  reasoning?: Reasoning | undefined;
  signal: AbortSignal;
}

export type Reasoning = "none" | "minimal" | "low" | "medium" | "high";

export type AnswerEnd = "stop" | "tool-calls" | "length" | "refused";

export type ModelPart =
  | { type: "text"; text: string }
  | { type: "thinking"; text: string }
  /** The last part. `usage.costUsd` is null unless the provider itself says what it charges. A call whose input was no JSON object is in `malformed`, with the reason; its `input` in the message stands in for it. */
  | { type: "answer"; message: AssistantMessage; end: AnswerEnd; usage: Usage; malformed: ReadonlyMap<string, string> };

export interface ModelProvider {
  /** Short name for messages, such as `anthropic`. */
  readonly name: string;
  /** One attempt: retries are the caller's. Throws a `ModelError`, or whatever `signal` was aborted with. */
  stream(request: ModelRequest): AsyncIterable<ModelPart>;
}

export type ModelErrorKind =
  /** 401, 403. */
  | "auth"
  /** The request itself is refused (400, 404, 413, 422 …). */
  | "bad_request"
  /** The conversation is longer than the model can read. */
  | "context_length"
  /** 429. */
  | "rate_limited"
  /** 503, 529, or said in mid-stream. */
  | "overloaded"
  /** Any other 5xx. */
  | "server"
  /** No connection, or it was torn before the answer was whole. */
  | "network";

const RETRYABLE: ReadonlySet<ModelErrorKind> = new Set(["rate_limited", "overloaded", "server", "network"]);

/** Why a model call came to nothing. `message` holds what the provider said, never a key. */
export class ModelError extends Error {
  readonly kind: ModelErrorKind;
  readonly status: number | null;
  /** How long the provider wants to be left alone, in milliseconds; null where it did not say. */
  readonly retryAfterMs: number | null;
  constructor(kind: ModelErrorKind, message: string, more: { status?: number | undefined; retryAfterMs?: number | null; cause?: unknown } = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = "ModelError";
    this.kind = kind;
    this.status = more.status ?? null;
    this.retryAfterMs = more.retryAfterMs ?? null;
  }
  get retryable(): boolean {
    return RETRYABLE.has(this.kind);
  }
}
