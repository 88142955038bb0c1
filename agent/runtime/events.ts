/** Owns what a turn tells while it runs: a stream of events that always ends in exactly one of `done` and `error`. */

import type { FileChange } from "./tool.ts";

/** What one or more model calls have used. Tokens of `input` do not hold those read from or written to the cache. */
export interface Usage {
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens: number;
  cacheWriteTokens: number;
  /** Part of the output tokens. */
  reasoningTokens: number;
  /** US dollars; null where no price is known for the model. */
  costUsd: number | null;
}

export const NO_USAGE: Readonly<Usage> = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0, costUsd: 0 };

/** Both together; a cost that is not known makes the sum unknown. */
export function addUsage(a: Readonly<Usage>, b: Readonly<Usage>): Usage {
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    cacheReadTokens: a.cacheReadTokens + b.cacheReadTokens,
    cacheWriteTokens: a.cacheWriteTokens + b.cacheWriteTokens,
    reasoningTokens: a.reasoningTokens + b.reasoningTokens,
    costUsd: a.costUsd === null || b.costUsd === null ? null : a.costUsd + b.costUsd,
  };
}

/** Which limit of the budget a turn has come to. */
export type BudgetLimit = "maxModelCallsPerTurn" | "maxCostUsdPerTurn" | "maxTokensPerTurn" | "maxSecondsPerTurn";

/** Why a turn ended in `done`. All but `completed` come with words in `note`. */
export type DoneReason =
  /** The model had nothing more to call. */
  | "completed"
  /** The model declined to answer. */
  | "refused"
  /** The answer reached the model's longest output and was cut. */
  | "length"
  | "budget"
  /** Tools failed again and again, or one tool's input never fitted. */
  | "stop-loss"
  /** The same call with the same result again and again. */
  | "doom-loop";

export type ErrorCode =
  /** The caller's AbortSignal. */
  | "aborted"
  /** The provider refused the key. */
  | "auth"
  /** The provider said no to the request itself. */
  | "bad_request"
  /** The conversation does not fit the model's context, even when cut. */
  | "context_length"
  /** The provider still said 429 or 529 after every retry. */
  | "overloaded"
  /** The provider cannot be reached, failed, or broke off, after every retry. */
  | "provider"
  /** The conversation store failed. */
  | "persistence"
  /** A fault of the runtime. */
  | "internal";

export type WarningCode = "skill" | "subagent" | "instructions" | "memory" | "seeding" | "prompt" | "history" | "tool" | "mcp" | "hook" | "model";

export type AgentEvent =
  /** A piece of the answer, as it comes. */
  | { type: "token"; text: string }
  | { type: "thinking"; text: string }
  /** A model call's whole text, after its last token. `thinking` is what went before it, if the model told. */
  | { type: "message"; text: string; thinking?: string }
  /** The model wants this call; it has not run yet, and a hook may veto it. `input` is what the model wrote. */
  | { type: "tool-call"; callId: string; tool: string; input: unknown }
  | { type: "tool-progress"; callId: string; text: string }
  /** Exactly one for each `tool-call`, whatever happens. */
  | { type: "tool-result"; callId: string; tool: string; output: string; isError: boolean; durationMs: number; changes?: readonly FileChange[] }
  /** One for each model call. */
  | { type: "usage"; model: string; usage: Usage }
  /** The provider is asked again; `afterMs` from now. Tokens of the broken attempt were told already where `discarded` is true. */
  | { type: "retry"; attempt: number; afterMs: number; reason: string; discarded: boolean }
  /** Something is not as it should be and the turn goes on without it. */
  | { type: "warning"; code: WarningCode; message: string }
  /** An event of a subagent, under the `task` call that started it. A subagent's own `done` or `error` comes this way too. */
  | { type: "subagent"; callId: string; name: string; event: AgentEvent }
  | { type: "done"; reason: DoneReason; text: string; note?: string; limit?: BudgetLimit; modelCalls: number; usage: Usage }
  | { type: "error"; code: ErrorCode; message: string; hint?: string; modelCalls: number; usage: Usage };

export type FinalEvent = Extract<AgentEvent, { type: "done" | "error" }>;

export function isFinal(event: AgentEvent): event is FinalEvent {
  return event.type === "done" || event.type === "error";
}
