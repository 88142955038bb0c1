/** Owns the reading of tokens out of what passes: three wires, streamed or whole, and an estimate where the end is missing. Pure but for its own state. */

import type { ModelApi } from "../../sdk/protocol/index.ts";
import { NO_TOKENS, type Tokens } from "./prices.ts";

/** Longest line of a stream, or whole answer, that is looked into, in characters; what is longer passes and is estimated. */
const MAX_TEXT = 16 * 1024 * 1024;
const CHARS_PER_TOKEN = 4;
/** The text of a piece of an answer, whatever its wire calls it. */
const PIECE = /"(?:text|thinking|partial_json|delta|content|arguments|reasoning_content)":\s*"((?:[^"\\]|\\.)*)"/;

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

type Fields = Record<string, unknown>;
const fields = (value: unknown): Fields => (typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {});
const count = (value: unknown): number | undefined => (typeof value === "number" && Number.isFinite(value) && value >= 0 ? Math.min(Math.round(value), 1e12) : undefined);
const text = (value: unknown): string | null => (typeof value === "string" ? value.slice(0, 200) : null);

function parsed(json: string): Fields {
  try {
    return fields(JSON.parse(json));
  } catch {
    return {};
  }
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

  /** `requestBytes`: size of the request, for an estimate of the tokens in. */
  constructor(api: ModelApi, stream: boolean, requestBytes: number) {
    this.#api = api;
    this.#stream = stream;
    this.#requestBytes = requestBytes;
  }

  feed(bytes: Uint8Array): void {
    const piece = this.#decoder.decode(bytes, { stream: true });
    if (!this.#stream) {
      if (this.#rest.length + piece.length <= MAX_TEXT) this.#rest += piece;
      else this.#overlong = true;
      return;
    }
    let from = 0;
    for (let end = piece.indexOf("\n"); end !== -1; end = piece.indexOf("\n", from)) {
      if (!this.#overlong) this.#line(from === 0 && this.#rest !== "" ? this.#rest + piece.slice(0, end) : piece.slice(from, end));
      this.#overlong = false;
      this.#rest = "";
      from = end + 1;
    }
    if (this.#rest.length + piece.length - from > MAX_TEXT) this.#overlong = true;
    this.#rest = this.#overlong ? "" : this.#rest + piece.slice(from);
  }

  end(): Counted {
    if (this.#stream && this.#rest !== "") this.#line(this.#rest);
    else if (!this.#stream) this.#answer(parsed(this.#rest));
    this.#rest = "";
    const estimated = !this.#counted;
    const output = Math.max(this.#pieces, Math.ceil(this.#chars / CHARS_PER_TOKEN), this.#tokens.output);
    const input = this.#input ? this.#tokens.input : Math.ceil(this.#requestBytes / CHARS_PER_TOKEN);
    return { tokens: estimated ? { ...this.#tokens, input, output } : this.#tokens, model: this.#model, stop_reason: this.#stop, whole: this.#whole, estimated, error: this.#error };
  }

  #line(line: string): void {
    if (!line.startsWith("data:")) return;
    // Most lines are pieces of text: only those that may tell of tokens, the end or an error are parsed.
    if (/"usage":\s*\{|"(?:message_start|message_delta|message_stop|error|response\.(?:created|completed|incomplete|failed))"|"finish_reason":\s*"|^data:\s*\[DONE\]/.test(line)) this.#event(line.slice(5).trim());
    const piece = PIECE.exec(line)?.[1];
    if (piece) {
      this.#pieces++;
      this.#chars += piece.length;
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
      this.#input = true;
    } else if (event["type"] === "message_delta") {
      this.#stop = text(fields(event["delta"])["stop_reason"]) ?? this.#stop;
      this.#anthropicUsage(fields(event["usage"]));
      if (count(fields(event["usage"])["output_tokens"]) !== undefined) this.#counted = true;
    } else if (event["type"] === "message_stop") this.#whole = true;
  }

  /** Cumulative: what a later count names overrides the earlier. */
  #anthropicUsage(usage: Fields): void {
    const kept = this.#tokens;
    this.#tokens = {
      input: count(usage["input_tokens"]) ?? kept.input,
      output: count(usage["output_tokens"]) ?? kept.output,
      cache_read: count(usage["cache_read_input_tokens"]) ?? kept.cache_read,
      cache_write: count(usage["cache_creation_input_tokens"]) ?? kept.cache_write,
      cache_write_1h: count(fields(usage["cache_creation"])["ephemeral_1h_input_tokens"]) ?? kept.cache_write_1h,
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
      this.#input = this.#counted;
    } else if (this.#api === "openai.responses") this.#responsesEnd(body);
    else this.#chat(body);
    if (!this.#counted) this.#chars = JSON.stringify(body["choices"] ?? body["output"] ?? body["content"] ?? "").length;
  }
}
