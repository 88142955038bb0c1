/** Owns the way to the AI SDK's provider packages: our messages into their prompt, their stream into our parts, their errors into ours. */

import { APICallError, type LanguageModelV4, type LanguageModelV4FilePart, type LanguageModelV4Message, type LanguageModelV4StreamPart, type LanguageModelV4ToolResultPart } from "@ai-sdk/provider";
import type { AssistantMessage, Message, ToolCallPart, ToolResultPart } from "../history/messages.ts";
import { ModelError, type AnswerEnd, type ModelErrorKind, type ModelPart, type ModelRequest } from "./provider.ts";
import { retryAfterOf } from "./retry.ts";
import { thoughtFields } from "./thoughts.ts";

/** What tells providers apart in how messages are put. */
export interface Dialect {
  /** Where the AI SDK puts what the provider wants back, and looks for it: `anthropic`, … */
  optionsKey: string;
  /** What came with a call is this provider's, and wanted back; another refuses fields that it does not know. */
  ownsCall: (provider: Readonly<Record<string, unknown>>) => boolean;
  /** A call's id as this provider takes it; another's may have been kept in the history. */
  idOf: (callId: string) => string;
  /** Images in tool results are understood; else they follow in a message of the user's. */
  imagesInResults: boolean;
  /** Thoughts are parts that the provider signs; else fields of their message. */
  signedThoughts: boolean;
  /** Failed results carry a flag; else they are marked in words. */
  errorFlag: boolean;
  /** Marks the end of a prefix that is worth caching; null where the provider caches by itself. */
  cacheMark: Readonly<Record<string, Record<string, never> | object>> | null;
}

type Options = NonNullable<LanguageModelV4Message["providerOptions"]>;
const MAX_SAID = 2_000;

/** The conversation as one prompt: system blocks first, each the end of a cached prefix; then the messages, of which the last two that the model has not answered are marked. */
export function promptOf({ system, messages }: Pick<ModelRequest, "system" | "messages">, dialect: Dialect): LanguageModelV4Message[] {
  const mark = dialect.cacheMark as Options | null;
  const blocks = system.filter((block) => block !== "");
  const head: LanguageModelV4Message[] = (mark ? blocks : blocks.length > 0 ? [blocks.join("\n\n")] : []).map((content) => ({ role: "system", content, ...(mark && { providerOptions: mark }) }));
  const body = messages.flatMap((one) => converted(one, dialect));
  if (mark) {
    // The end of this request, and the end of the last one: what was written then is read now, however much came between.
    const ends = body.flatMap((one, i) => (one.role === "assistant" ? [] : [i])).filter((at, i, all) => i === all.length - 1 || body[at + 1]?.role === "assistant").slice(-2);
    for (const at of ends) body[at] = marked(body[at] as LanguageModelV4Message, mark);
  }
  return [...head, ...body];
}

/** A message's conversion never changes, and long histories are sent again and again. */
const CONVERTED = new WeakMap<Message, Map<string, LanguageModelV4Message[]>>();

function converted(one: Message, dialect: Dialect): LanguageModelV4Message[] {
  const known = CONVERTED.get(one) ?? new Map<string, LanguageModelV4Message[]>();
  const found = known.get(dialect.optionsKey) ?? convert(one, dialect);
  known.set(dialect.optionsKey, found);
  CONVERTED.set(one, known);
  return found;
}

function convert(one: Message, dialect: Dialect): LanguageModelV4Message[] {
  if (one.role === "user") return [{ role: "user", content: one.content.map((part) => (part.type === "text" ? part : file(part))) }];
  if (one.role === "assistant") return answered(one, dialect);
  const results: LanguageModelV4Message = { role: "tool", content: one.content.map((part) => result(part, dialect)) };
  const images = dialect.imagesInResults ? [] : one.content.flatMap((part) => (typeof part.content === "string" ? [] : part.content.flatMap((inner) => (inner.type === "image" ? [inner] : []))));
  return images.length === 0 ? [results] : [results, { role: "user", content: [{ type: "text", text: "The images of the results above:" }, ...images.map(file)] }];
}

/** What the model said; nothing where it said nothing that can be sent. */
function answered({ content }: AssistantMessage, dialect: Dialect): LanguageModelV4Message[] {
  const whole = content.flatMap((part) => assistantPart(part, dialect));
  // A thought that was cut off before any word followed is refused as a message's end.
  const parts = whole.slice(0, whole.findLastIndex(({ type }) => type !== "reasoning") + 1);
  if (parts.length === 0) return [];
  const thoughts = content.filter((part) => part.type === "thinking");
  const fields = dialect.signedThoughts ? null : thoughtFields({ text: thoughts.map(({ text }) => text).join(""), provider: thoughts[0]?.provider });
  return [{ role: "assistant", content: parts, ...(fields && { providerOptions: { [dialect.optionsKey]: fields } }) }];
}

type AssistantPart = Extract<LanguageModelV4Message, { role: "assistant" }>["content"][number];

function assistantPart(part: AssistantMessage["content"][number], dialect: Dialect): AssistantPart[] {
  const { optionsKey, signedThoughts } = dialect;
  // Blank text is refused by those who sent it.
  if (part.type === "text") return part.text.trim() === "" ? [] : [{ type: "text", text: part.text }];
  const own = part.provider && (part.type === "thinking" || dialect.ownsCall(part.provider)) ? { providerOptions: { [optionsKey]: part.provider } as Options } : {};
  // A thought without its signature would be refused by those who sign; so would one of another provider.
  if (part.type === "thinking") return signedThoughts && part.provider && thoughtFields(part) === null ? [{ type: "reasoning", text: part.text, ...own }] : [];
  return [{ type: "tool-call", toolCallId: dialect.idOf(part.callId), toolName: part.tool, input: part.input, ...own }];
}

function result({ callId, tool, content, isError }: ToolResultPart, dialect: Dialect): LanguageModelV4ToolResultPart {
  const at = { type: "tool-result" as const, toolCallId: dialect.idOf(callId), toolName: tool };
  const images = typeof content !== "string" && content.some(({ type }) => type === "image");
  if (images && dialect.imagesInResults) {
    const failed = isError === true ? [{ type: "text" as const, text: "Error:" }] : [];
    return { ...at, output: { type: "content", value: [...failed, ...content].map((part) => (part.type === "text" ? part : { type: "file" as const, data: { type: "data" as const, data: part.data }, mediaType: part.mediaType })) } };
  }
  const text = typeof content === "string" ? content : content.map((part) => (part.type === "text" ? part.text : "[image: see the next message]")).join("\n");
  if (isError !== true) return { ...at, output: { type: "text", value: text } };
  return { ...at, output: { type: "error-text", value: dialect.errorFlag ? text : `Error: ${text}` } };
}

function file(part: { data: string; mediaType: string }): LanguageModelV4FilePart {
  return { type: "file", data: { type: "data", data: part.data }, mediaType: part.mediaType };
}

function marked(one: LanguageModelV4Message, mark: Options): LanguageModelV4Message {
  if (one.role !== "tool") return { ...one, providerOptions: mark };
  return { ...one, content: one.content.map((part, i) => (i === one.content.length - 1 ? { ...part, providerOptions: mark } : part)) };
}

/** One attempt through a model of the AI SDK. Throws `ModelError`, or the signal's reason. */
export async function* streamFrom(model: LanguageModelV4, request: ModelRequest, dialect: Dialect): AsyncGenerator<ModelPart> {
  const { signal } = request;
  let ended = false;
  try {
    const { stream } = await model.doStream({
      prompt: promptOf(request, dialect),
      abortSignal: signal,
      ...(request.maxOutputTokens !== undefined && { maxOutputTokens: request.maxOutputTokens }),
      ...(request.reasoning !== undefined && { reasoning: request.reasoning }),
      ...(request.tools.length > 0 && { tools: request.tools.map(({ name, description, inputSchema }) => ({ type: "function" as const, name, description, inputSchema })) }),
    });
    const answer = new Answer(dialect.optionsKey);
    for await (const part of stream) {
      const told = answer.take(part);
      if (told?.type === "answer") ended = true;
      if (told) yield told;
    }
    if (!ended) throw new ModelError("network", "the answer was cut off before its end");
  } catch (error) {
    signal.throwIfAborted();
    throw modelErrorOf(error);
  }
}

/** Gathers the pieces of one answer. */
class Answer {
  readonly #key: string;
  readonly #parts: AssistantMessage["content"] = [];
  readonly #open = new Map<string, { type: "text" | "thinking"; text: string; provider?: Record<string, unknown> | undefined }>();
  readonly #malformed = new Map<string, string>();

  constructor(key: string) {
    this.#key = key;
  }

  take(part: LanguageModelV4StreamPart): ModelPart | null {
    switch (part.type) {
      case "text-start":
      case "reasoning-start":
        this.#begin(part.type === "text-start" ? "text" : "thinking", part.id);
        this.#sign(part.id, part.providerMetadata?.[this.#key]);
        return null;
      case "text-delta":
      case "reasoning-delta": {
        const type = part.type === "text-delta" ? "text" : "thinking";
        this.#begin(type, part.id).text += part.delta;
        this.#sign(part.id, part.providerMetadata?.[this.#key]);
        return part.delta === "" ? null : { type, text: part.delta };
      }
      case "reasoning-end":
      case "text-end":
        this.#sign(part.id, part.providerMetadata?.[this.#key]);
        this.#open.delete(part.id);
        return null;
      case "tool-call":
        this.#parts.push(this.#call(part));
        return null;
      case "error":
        throw modelErrorOf(part.error);
      case "finish":
        return this.#finish(part);
      default:
        return null;
    }
  }

  #begin(type: "text" | "thinking", id: string): { text: string } {
    const known = this.#open.get(id);
    if (known) return known;
    const fresh = { type, text: "" };
    this.#open.set(id, fresh);
    this.#parts.push(fresh);
    return fresh;
  }

  #sign(id: string, metadata: Record<string, unknown> | undefined): void {
    const open = this.#open.get(id);
    if (open?.type === "thinking" && metadata) open.provider = { ...open.provider, ...metadata };
  }

  /** How the whole answer's thoughts are to be given back, where that is said at its end. They may hold no text at all. */
  #keep(thoughts: unknown): void {
    if (typeof thoughts !== "object" || thoughts === null) return;
    const first = this.#parts.find((part) => part.type === "thinking");
    if (first) first.provider = { ...first.provider, ...thoughts };
    else this.#parts.unshift({ type: "thinking", text: "", provider: { ...thoughts } });
  }

  #call({ toolCallId, toolName, input, providerMetadata }: Extract<LanguageModelV4StreamPart, { type: "tool-call" }>): ToolCallPart {
    const provider = providerMetadata?.[this.#key];
    const call = { type: "tool-call" as const, callId: toolCallId, tool: named(toolName), ...(provider && { provider }) };
    try {
      const value: unknown = input.trim() === "" ? {} : JSON.parse(input);
      if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...call, input: value };
      this.#malformed.set(toolCallId, "the input is JSON but no object");
    } catch (error) {
      this.#malformed.set(toolCallId, `the input is no JSON: ${error instanceof Error ? error.message : String(error)}`);
    }
    return { ...call, input: { malformed_input: input.slice(0, MAX_SAID) } };
  }

  #finish({ finishReason, usage, providerMetadata }: Extract<LanguageModelV4StreamPart, { type: "finish" }>): ModelPart {
    if (finishReason.unified === "error" || finishReason.unified === "interrupted") throw new ModelError("network", "the answer was cut off before its end");
    this.#keep(providerMetadata?.[this.#key]?.["thoughts"]);
    const calls = this.#parts.some(({ type }) => type === "tool-call");
    const END: Partial<Record<typeof finishReason.unified, AnswerEnd>> = { "length": "length", "content-filter": "refused" };
    const { inputTokens, outputTokens } = usage;
    const cacheRead = inputTokens.cacheRead ?? 0;
    const cacheWrite = inputTokens.cacheWrite ?? 0;
    return {
      type: "answer",
      message: { role: "assistant", content: this.#parts.filter((part) => part.type === "tool-call" || part.text !== "" || (part.type === "thinking" && part.provider)) },
      end: END[finishReason.unified] ?? (calls ? "tool-calls" : "stop"),
      malformed: this.#malformed,
      usage: {
        inputTokens: inputTokens.noCache ?? Math.max(0, (inputTokens.total ?? 0) - cacheRead - cacheWrite),
        outputTokens: outputTokens.total ?? 0,
        cacheReadTokens: cacheRead,
        cacheWriteTokens: cacheWrite,
        reasoningTokens: outputTokens.reasoning ?? 0,
        // OpenRouter says what it charges.
        costUsd: typeof usage.raw?.["cost"] === "number" ? usage.raw["cost"] : null,
      },
    };
  }
}

/** A name that no tool can have, such as `exec<|channel|>json`, would be refused when it is sent back, and with it every later call. */
function named(tool: string): string {
  return tool.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, 64) || "unnamed";
}

const TOO_LONG = /prompt is too long|context.?length|context.?window|maximum context|too many (input )?tokens|exceeds? the (model'?s )?(maximum|limit)|input is too long|request_too_large/i;

function kindOf(status: number | undefined, said: string): ModelErrorKind {
  if (status === undefined) return "network";
  if (status === 401 || status === 403) return "auth";
  if (status === 413 || ((status === 400 || status === 422) && TOO_LONG.test(said))) return "context_length";
  if (status === 429) return "rate_limited";
  if (status === 529 || status === 503) return "overloaded";
  if (status === 408 || status === 409 || status >= 500) return "server";
  return "bad_request";
}

/** An error of the AI SDK, of a stream or of the network as a `ModelError`. */
export function modelErrorOf(error: unknown): ModelError {
  if (error instanceof ModelError) return error;
  if (APICallError.isInstance(error)) {
    const said = `${error.message} ${error.responseBody ?? ""}`;
    const retryAfterMs = retryAfterOf(error.responseHeaders, Date.now());
    // A status of success, with a body that is not what it should be: somebody in between answered.
    const status = error.statusCode !== undefined && error.statusCode < 400 ? 502 : error.statusCode;
    return new ModelError(kindOf(status, said), clip(error.message), { status: error.statusCode, retryAfterMs, cause: error.cause });
  }
  if (typeof error === "object" && error !== null && !(error instanceof Error)) {
    const { message, type, statusCode } = error as { message?: unknown; type?: unknown; statusCode?: unknown };
    const said = typeof message === "string" ? message : JSON.stringify(error).slice(0, MAX_SAID);
    const status = typeof statusCode === "number" ? statusCode : undefined;
    if (type === "overloaded_error") return new ModelError("overloaded", clip(said), { status: 529 });
    if (type === "rate_limit_error") return new ModelError("rate_limited", clip(said), { status: 429 });
    // Said in mid-stream, without a status: the provider failed.
    return new ModelError(kindOf(status ?? 500, said), clip(said), { status });
  }
  return new ModelError("network", clip(error instanceof Error ? error.message : String(error)), { cause: error });
}

function clip(text: string): string {
  return text.length <= MAX_SAID ? text : `${text.slice(0, MAX_SAID)}…`;
}
