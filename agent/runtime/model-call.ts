/** Owns one model call with its retries: pieces go out as they come, a broken attempt is told and asked again, an abort ends it at once. */

import { setTimeout as delay } from "node:timers/promises";
import { listPricing, type Pricing } from "./pricing.ts";
import type { AgentEvent } from "./events.ts";
import { ModelError, type ModelPart, type ModelProvider, type ModelRequest } from "./models/provider.ts";
import { DEFAULT_RETRIES, retryDelay, type RetryPolicy } from "./models/retry.ts";
import { textIn } from "./history/messages.ts";

export type WholeAnswer = Extract<ModelPart, { type: "answer" }>;

export interface ModelCallOptions {
  provider: ModelProvider;
  request: ModelRequest;
  emit: (event: AgentEvent) => Promise<void>;
  retries?: Partial<RetryPolicy> | undefined;
  pricing?: Pricing | undefined;
  /** What was said before the stream broke or was aborted; for the history. */
  onPartial: (text: string) => void;
}

/** The whole answer, with its cost. Throws a `ModelError` when every attempt has failed, or the signal's reason. */
export async function callModel({ provider, request, emit, retries, pricing = listPricing, onPartial }: ModelCallOptions): Promise<WholeAnswer> {
  const policy = { ...DEFAULT_RETRIES, ...retries };
  for (let attempt = 1; ; attempt++) {
    let said = "";
    let told = false;
    let thought = "";
    try {
      for await (const part of provider.stream(request)) {
        if (part.type === "answer") return await whole(part, request.model, thought, pricing, emit);
        told = true;
        if (part.type === "text") {
          said += part.text;
          onPartial(said);
          await emit({ type: "token", text: part.text });
        } else {
          thought += part.text;
          await emit({ type: "thinking", text: part.text });
        }
        request.signal.throwIfAborted();
      }
      throw new ModelError("network", "the provider ended its stream without an answer");
    } catch (error) {
      request.signal.throwIfAborted();
      if (!(error instanceof ModelError)) throw error;
      const afterMs = retryDelay(error, attempt, policy, Math.random());
      if (afterMs === null) throw error;
      onPartial("");
      await emit({ type: "retry", attempt, afterMs, reason: error.message, discarded: told });
      await delay(afterMs, undefined, { signal: request.signal }).catch(() => request.signal.throwIfAborted());
    }
  }
}

async function whole(answer: WholeAnswer, model: string, thought: string, pricing: Pricing, emit: ModelCallOptions["emit"]): Promise<WholeAnswer> {
  const usage = { ...answer.usage, costUsd: answer.usage.costUsd ?? pricing(model, answer.usage) };
  const text = textIn(answer.message);
  if (text !== "" || thought !== "") await emit({ type: "message", text, ...(thought !== "" && { thinking: thought }) });
  await emit({ type: "usage", model, usage });
  return { ...answer, usage };
}
