/** Owns the reading of tokens out of what passes: three wires, streamed or whole, and an estimate where the end is missing. Pure but for its own state. */

import type { ModelApi } from "../../sdk/protocol/index.ts";
import { fields, type Fields } from "./fields.ts";
import { NO_TOKENS, type Tokens } from "./prices.ts";

/** Longest line of a stream, or whole answer, that is looked into, in characters; what is longer passes and is estimated. */
const MAX_TEXT = 16 * 1024 * 1024;
const CHARS_PER_TOKEN = 4;
/** Where the text of a piece of an answer begins, whatever its wire calls it. */
const PIECE = /"(?:text|thinking|partial_json|delta|content|arguments|reasoning_content)":\s*"/;
/** How an answer begins that is a stream of events, whatever its header says. */
const EVENTS = /^(?:data|event|id|retry)?:/;

export interface Counted {
  tokens: Tokens;
  model: string | null;
  stop_reason: string | null;
  /** The answer told its own end. */
  whole: boolean;
  /** Upstream's count did not come: these tokens are counted from what passed. */
  estimated: boolean;
  /** What upstream said in the midst of its stream. */
  error: string | null;
}

const count = (value: unknown): number | undefined => (typeof value === "number" && Number.isFinite(value) && value >= 0 ? Math.min(Math.round(value), 1e12) : undefined);
const text = (value: unknown): string | null => (typeof value === "string" ? value.slice(0, 200) : null);

function parsed(json: string): Fields {
  try {
    return fields(JSON.parse(json));
  } catch {
    return {};
  }
}

/** Characters of the text of a line's first piece, as they are written; a pattern for all of it would overflow the stack where it is megabytes. */
function pieceOf(line: string): number {
  const found = PIECE.exec(line);
  if (!found) return 0;
  const from = found.index + found[0].length;
  for (let at = line.indexOf('"', from); at !== -1; at = line.indexOf('"', at + 1)) {
    let escapes = 0;
    while (line[at - 1 - escapes] === "\\") escapes++;
    if (escapes % 2 === 0) return at - from;
  }
  return line.length - from;
}

export class Meter {
  readonly #api: ModelApi;
  readonly #stream: boolean;
  readonly #requestBytes: number;
  readonly #decoder = new TextDecoder();
  #rest = "";
  #overlong = false;
  #tokens: Tokens = NO_TOKENS;
  #counted = false;
  #input = false;
  #model: string | null = null;
  #stop: string | null = null;
  #whole = false;
  #error: string | null = null;
  #chars = 0;
  #pieces = 0;
  /** All characters that passed, and whether any of them were of an event. */
  #passed = 0;
  #events = false;

  /** `requestBytes`: size of the request, for an estimate of the tokens in. */
  constructor(api: ModelApi, stream: boolean, requestBytes: number) {
    this.#api = api;
    this.#stream = stream;
    this.#requestBytes = requestBytes;
  }

  feed(bytes: Uint8Array): void {
    const piece = this.#decoder.decode(bytes, { stream: true });
    this.#passed += piece.length;
    if (!this.#stream) {
      if (this.#rest.length + piece.length <= MAX_TEXT) this.#rest += piece;
      else this.#overlong = true;
      return;
    }
    let from = 0;
    if (this.#overlong) this.#chars += piece.length;
    for (let end = piece.indexOf("\n"); end !== -1; end = piece.indexOf("\n", from)) {
      if (!this.#overlong) this.#line(from === 0 && this.#rest !== "" ? this.#rest + piece.slice(0, end) : piece.slice(from, end));
      this.#overlong = false;
      this.#rest = "";
      from = end + 1;
    }
    if (this.#rest.length + piece.length - from > MAX_TEXT) {
      this.#overlong = true;
      this.#chars += this.#rest.length + piece.length - from;
    }
    this.#rest = this.#overlong ? "" : this.#rest + piece.slice(from);
  }

  end(): Counted {
    const rest = this.#rest;
    this.#rest = "";
    // What an answer is shows in its first characters; its header may say otherwise.
    if (this.#stream && this.#events) this.#line(rest);
    else if (EVENTS.test(rest)) for (const line of rest.split("\n")) this.#line(line);
    else this.#answer(parsed(rest));
    const estimated = !this.#counted || !this.#input;
    // Of what cannot be read at all, everything that passed is taken for its text.
    if (!this.#events && !this.#whole) this.#chars = this.#passed;
    const output = Math.max(this.#pieces, Math.ceil(this.#chars / CHARS_PER_TOKEN), this.#tokens.output);
    const input = this.#input ? this.#tokens.input : Math.ceil(this.#requestBytes / CHARS_PER_TOKEN);
    return { tokens: estimated ? { ...this.#tokens, input, output } : this.#tokens, model: this.#model, stop_reason: this.#stop, whole: this.#whole, estimated, error: this.#error };
  }

  #line(line: string): void {
    if (!line.startsWith("data:")) return;
    this.#events = true;
    // Most lines are pieces of text: only those that may tell of tokens, the end or an error are parsed.
    if (/"usage"\s*:\s*\{|"(?:message_start|message_delta|message_stop|error|response\.(?:created|completed|incomplete|failed))"|"finish_reason"\s*:\s*"|^data:\s*\[DONE\]/.test(line)) this.#event(line.slice(5).trim());
    const chars = pieceOf(line);
    if (chars > 0) {
      this.#pieces++;
      this.#chars += chars;
    }
  }

  #event(json: string): void {
    if (json === "[DONE]") {
      this.#whole = true;
      return;
    }
    const event = parsed(json);
    if (event["error"] !== undefined && event["error"] !== null) this.#error = text(fields(event["error"])["message"]) ?? text(event["error"]) ?? "an error in the stream";
    if (this.#api === "anthropic.messages") this.#anthropic(event);
    else if (this.#api === "openai.responses") this.#responses(event);
    else this.#chat(event);
  }

  #anthropic(event: Fields): void {
    if (event["type"] === "message_start") {
      const message = fields(event["message"]);
      this.#model = text(message["model"]);
      this.#anthropicUsage(fields(message["usage"]));
    } else if (event["type"] === "message_delta") {
      this.#stop = text(fields(event["delta"])["stop_reason"]) ?? this.#stop;
      this.#anthropicUsage(fields(event["usage"]));
      if (count(fields(event["usage"])["output_tokens"]) !== undefined) this.#counted = true;
    } else if (event["type"] === "message_stop") this.#whole = true;
  }

  /** Cumulative: what a later count names overrides the earlier. */
  #anthropicUsage(usage: Fields): void {
    const kept = this.#tokens;
    const forAnHour = count(fields(usage["cache_creation"])["ephemeral_1h_input_tokens"]) ?? kept.cache_write_1h;
    if (count(usage["input_tokens"]) !== undefined) this.#input = true;
    this.#tokens = {
      input: count(usage["input_tokens"]) ?? kept.input,
      output: count(usage["output_tokens"]) ?? kept.output,
      cache_read: count(usage["cache_read_input_tokens"]) ?? kept.cache_read,
      cache_write: Math.max(forAnHour, count(usage["cache_creation_input_tokens"]) ?? kept.cache_write),
      cache_write_1h: forAnHour,
      reasoning: count(fields(usage["output_tokens_details"])["thinking_tokens"]) ?? kept.reasoning,
    };
  }

  #responses(event: Fields): void {
    const type = text(event["type"]) ?? "";
    if (!/^response\.(created|completed|incomplete|failed)$/.test(type)) return;
    const response = fields(event["response"]);
    this.#model = text(response["model"]) ?? this.#model;
    if (type === "response.created") return;
    this.#responsesEnd(response);
  }
  #responsesEnd(response: Fields): void {
    this.#whole = true;
    this.#stop = text(fields(response["incomplete_details"])["reason"]) ?? text(response["status"]);
    this.#error = text(fields(response["error"])["message"]) ?? this.#error;
    const usage = fields(response["usage"]);
    this.#openai(usage, "input_tokens", "output_tokens");
  }

  #chat(event: Fields): void {
    this.#model = text(event["model"]) ?? this.#model;
    const choice = Array.isArray(event["choices"]) ? fields(event["choices"][0]) : {};
    this.#stop = text(choice["finish_reason"]) ?? this.#stop;
    this.#openai(fields(event["usage"]), "prompt_tokens", "completion_tokens");
  }

  /** OpenAI's count of tokens in holds those of the cache. */
  #openai(usage: Fields, inName: string, outName: string): void {
    const input = count(usage[inName]);
    const output = count(usage[outName]);
    if (input === undefined || output === undefined) return;
    const details = fields(usage[`${inName}_details`]);
    const cached = Math.min(input, count(details["cached_tokens"]) ?? 0);
    const written = Math.min(input - cached, count(details["cache_write_tokens"]) ?? 0);
    const reasoning = count(fields(usage[`${outName}_details`])["reasoning_tokens"]) ?? 0;
    this.#tokens = { input: input - cached - written, output, cache_read: cached, cache_write: written, cache_write_1h: 0, reasoning };
    this.#counted = true;
    this.#input = true;
  }

  /** A whole answer as one JSON body. */
  #answer(body: Fields): void {
    const usage = fields(body["usage"]);
    if (this.#overlong || Object.keys(body).length === 0) return;
    this.#whole = true;
    this.#model = text(body["model"]);
    if (body["error"]) this.#error = text(fields(body["error"])["message"]);
    if (this.#api === "anthropic.messages") {
      this.#stop = text(body["stop_reason"]);
      this.#anthropicUsage(usage);
      this.#counted = count(usage["output_tokens"]) !== undefined;
    } else if (this.#api === "openai.responses") this.#responsesEnd(body);
    else this.#chat(body);
    if (!this.#counted) this.#chars = JSON.stringify(body["choices"] ?? body["output"] ?? body["content"] ?? "").length;
  }
}
