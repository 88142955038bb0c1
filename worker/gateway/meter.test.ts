import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ModelApi } from "../../sdk/protocol/index.ts";
import { doorOf, join, kindOf } from "./doors.ts";
import { largestOf } from "./estimate.ts";
import { Meter } from "./meter.ts";
import { BOOK, costOf, matches, NO_TOKENS, priceOf } from "./prices.ts";
import { askingForUsage } from "./request.ts";
import { waitFor } from "./retry.ts";
import { UnaskedUsage } from "./unasked.ts";
import { usageCsv } from "./usage-csv.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const sse = (...events: object[]) => events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");
const metered = (api: ModelApi, text: string, stream = true) => {
  const meter = new Meter(api, stream, 400);
  meter.feed(bytes(text));
  return meter.end();
};

const STREAMS: [ModelApi, string, object][] = [
  ["anthropic.messages", sse(
    { type: "message_start", message: { model: "claude-x", usage: { input_tokens: 3, cache_creation_input_tokens: 20, cache_read_input_tokens: 100, output_tokens: 1, cache_creation: { ephemeral_1h_input_tokens: 5 } } } },
    { type: "content_block_delta", delta: { type: "text_delta", text: 'says "usage":{ and {"output_tokens":999}' } },
    { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 42 } }, { type: "message_stop" },
  ), { model: "claude-x", stop_reason: "end_turn", whole: true, estimated: false, tokens: { input: 3, output: 42, cache_read: 100, cache_write: 20, cache_write_1h: 5, reasoning: 0 } }],
  ["openai.responses", sse(
    { type: "response.created", response: { model: "gpt-x", usage: null } }, { type: "response.output_text.delta", delta: "hello" },
    { type: "response.completed", response: { model: "gpt-x", status: "completed", usage: { input_tokens: 100, input_tokens_details: { cached_tokens: 60 }, output_tokens: 30, output_tokens_details: { reasoning_tokens: 12 } } } },
  ), { model: "gpt-x", stop_reason: "completed", whole: true, estimated: false, tokens: { input: 40, output: 30, cache_read: 60, cache_write: 0, cache_write_1h: 0, reasoning: 12 } }],
  ["openai.chat", `${sse(
    { model: "gpt-y", choices: [{ delta: { content: "hello" } }] }, { model: "gpt-y", choices: [{ delta: {}, finish_reason: "stop" }] },
    { model: "gpt-y", choices: [], usage: { prompt_tokens: 10, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 4 } } },
  )}data: [DONE]\n\n`, { model: "gpt-y", stop_reason: "stop", whole: true, estimated: false, tokens: { input: 6, output: 5, cache_read: 4, cache_write: 0, cache_write_1h: 0, reasoning: 0 } }],
];

describe("the meter", () => {
  it.each(STREAMS)("reads %s's count, wherever the pieces are cut", (api, text, counted) => {
    expect(metered(api, text)).toMatchObject(counted);
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 30 }), (cuts) => {
        const meter = new Meter(api, true, 400);
        const whole = bytes(text);
        let from = 0;
        for (const to of [...cuts.toSorted((a, b) => a - b), whole.length]) {
          meter.feed(whole.subarray(from, to));
          from = Math.max(from, to);
        }
        expect(meter.end()).toMatchObject(counted);
      }),
      { numRuns: 50 },
    );
  });

  it.each(STREAMS)("estimates %s where the end is missing", (api, text) => {
    const cut = metered(api, text.slice(0, text.indexOf("\n\n", text.indexOf("\n\n") + 2) + 2));
    expect(cut).toMatchObject({ estimated: true, whole: false });
    expect(cut.tokens.output).toBeGreaterThan(0);
    expect(cut.tokens.input + cut.tokens.cache_read).toBeGreaterThan(0);
  });

  it("looks at what an answer is, whatever its header says, and takes all that passed for text where it cannot be read", () => {
    for (const [api, text, counted] of STREAMS) expect(metered(api, text, false)).toMatchObject(counted);
    const whole = '{"model":"m","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5}}';
    for (const stream of [true, false]) {
      expect(metered("openai.chat", whole, stream)).toMatchObject({ whole: true, estimated: false, stop_reason: "stop", tokens: { input: 10, output: 5 } });
      expect(metered("openai.chat", whole.slice(0, 60), stream)).toMatchObject({ whole: false, estimated: true, tokens: { input: 100, output: 15 } });
      expect(metered("anthropic.messages", "x".repeat(20 * 1024 * 1024), stream)).toMatchObject({ whole: false, estimated: true, tokens: { output: 5 * 1024 * 1024 } });
    }
  });

  it("reads lines of megabytes", () => {
    for (const text of ["a".repeat(15 * 1024 * 1024), "\\\"".repeat(1024 * 1024), " ".repeat(15 * 1024 * 1024)]) {
      const { tokens, estimated } = metered("anthropic.messages", sse({ type: "content_block_delta", delta: { text } }, { type: "message_stop" }));
      expect([tokens.output, estimated]).toEqual([(JSON.stringify(text).length - 2) / 4, true]);
    }
  });

  it("estimates what a count leaves out", () => {
    const end = { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 42 } };
    expect(metered("anthropic.messages", sse({ type: "message_start", message: { model: "m" } }, end, { type: "message_stop" }))).toMatchObject({ estimated: true, tokens: { input: 100, output: 42 } });
    expect(metered("anthropic.messages", sse({ type: "message_start", message: { model: "m" } }, { ...end, usage: { ...end.usage, input_tokens: 7 } }))).toMatchObject({ estimated: false, tokens: { input: 7, output: 42 } });
    // What is kept for an hour is among what was written.
    expect(metered("anthropic.messages", '{"type":"message","usage":{"input_tokens":1,"output_tokens":2,"cache_creation":{"ephemeral_1h_input_tokens":9}}}', false).tokens).toMatchObject({ cache_write: 9, cache_write_1h: 9 });
  });

  it("takes any bytes without failing, and no count that is none", () => {
    const words = fc.constantFrom("data: ", "\n", "\r\n", '{"usage":{', '"output_tokens":', "-5", "1e999", '"message_delta"', "[DONE]", "}}", '"type":');
    fc.assert(
      fc.property(fc.constantFrom<ModelApi>("anthropic.messages", "openai.responses", "openai.chat", "other"), fc.boolean(), fc.array(fc.oneof(words, fc.string()), { maxLength: 60 }), (api, stream, parts) => {
        const { tokens } = metered(api, parts.join(""), stream);
        for (const value of Object.values(tokens)) expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
      }),
    );
  });
});

describe("prices", () => {
  it("prefer the longest match, and the tenant's own before all", () => {
    expect(priceOf("claude-opus-4-5-20251101", []).price?.input).toBe(5);
    expect(priceOf("claude-opus-4-1", []).price?.input).toBe(15);
    expect(priceOf("claude-opus-9", []).price).toBeNull();
    expect(priceOf("claude-opus-4-5", [{ match: "claude*", input: 1, output: 1 }])).toMatchObject({ price: { input: 1 }, version: `${BOOK.version}+tenant` });
  });
  it("count each kind of token by itself", () => {
    const price = { match: "m", input: 3, output: 15, cache_read: 0.3, cache_write: 3.75, cache_write_1h: 6 };
    expect(costOf(price, { input: 1_000, output: 2_000, cache_read: 10_000, cache_write: 500, cache_write_1h: 100, reasoning: 500 })).toBeCloseTo((3_000 + 30_000 + 3_000 + 400 * 3.75 + 600) / 1e6, 12);
    expect(costOf({ match: "m", input: 2, output: 4 }, { ...NO_TOKENS, cache_read: 10 })).toBeCloseTo(20 / 1e6, 12);
  });
  it("take another tier for a prompt that is long, and for all of its call", () => {
    const { price } = priceOf("claude-haiku-5-5", []);
    const tokens = { ...NO_TOKENS, input: 40_000, cache_read: 50_000, cache_write: 10_000, output: 1_000 };
    expect(price && costOf(price, tokens)).toBeCloseTo((40_000 * 0.1 + 50_000 * 0.01 + 10_000 * 0.125 + 1_000 * 0.5) / 1e6, 12);
    expect(price && costOf(price, { ...tokens, input: 40_001 })).toBeCloseTo((40_001 * 0.5 + 50_000 * 0.05 + 10_000 * 0.625 + 1_000 * 2.5) / 1e6, 12);
    // The reservation counts with the tier that the longest reading of the body falls into.
    const largest = (bytes: number) => largestOf({ bytes, max_output_tokens: 1_000, answers: 1, linked: 0, stored: false }, priceOf("claude-haiku-5-5", [])).cost_usd;
    expect(largest(200_000)).toBeCloseTo((100_000 * 0.2 + 1_000 * 0.5) / 1e6, 12);
    expect(largest(200_002)).toBeCloseTo((100_001 * 1 + 1_000 * 2.5) / 1e6, 12);
  });
  it("of the book are sane: what is cached costs less to read than to send, and a long prompt costs no less", () => {
    for (const { match, input, output, cache_read = input, long } of BOOK.models) {
      expect(cache_read <= input && input <= output, `${match}`).toBe(true);
      if (long) expect(long.input >= input && long.output >= output && (long.cache_read ?? long.input) >= cache_read, `${match}`).toBe(true);
    }
    expect(new Set(BOOK.models.map(({ match }) => match)).size).toBe(BOOK.models.length);
    for (const [model, input] of [["claude-opus-5-5", 4], ["claude-opus-5", 5], ["claude-opus-4-8", 5], ["claude-opus-4-1-20250805", 15], ["claude-sonnet-5-5", 2], ["claude-haiku-4-5-20251001", 1], ["gpt-6.1-sol", 2], ["gpt-5.6", 4], ["gpt-5.5-2026-04-23", 5], ["gpt-5.4-mini", 0.75], ["gpt-5-codex", 1.25], ["gemini-2.5-flash-lite", 0.1]] as const) {
      expect(priceOf(model, []).price?.input, `${model}`).toBe(input);
    }
  });
  it("match names as written, with stars for any run of characters", () => {
    for (const [pattern, name, is] of [["a", "a", true], ["a", "ab", false], ["a*", "ab", true], ["a*c", "abbc", true], ["a*c*", "acx", true], ["*", "", true], ["a*a", "a", false]] as const) expect(matches(pattern, name), `${pattern} ${name}`).toBe(is);
  });
  it("never let a call cost more than was reserved for what it says of itself", () => {
    const price = priceOf("claude-sonnet-4-5", []);
    const text = "plain words of a request. ".repeat(200);
    const largest = largestOf({ bytes: text.length, max_output_tokens: 100, answers: 1, linked: 0, stored: false }, price);
    const real = costOf(price.price ?? BOOK.models[0] ?? { match: "", input: 0, output: 0 }, { ...NO_TOKENS, cache_write: text.length / 3, cache_write_1h: text.length / 3, output: 100 });
    expect(largest.cost_usd).toBeGreaterThan(real);
  });
});

describe("doors", () => {
  it("open to three kinds of paths and no others", () => {
    expect(doorOf("/gateway/anthropic/v1/messages")).toEqual({ kind: "anthropic", config: null, path: "/v1/messages" });
    expect(doorOf("/gateway/compatible/house/chat/completions")).toEqual({ kind: "compatible", config: "house", path: "/chat/completions" });
    for (const path of ["/gateway", "/gateway/google/x", "/gateway/compatible", "/gateway/anthropic/../admin", "/gateway/openai/%2e%2e%2f", "/gateway/openai/a%5Cb", "/gateway/compatible/a b/x"]) expect(doorOf(path), `${path}`).toBeNull();
  });
  it("join addresses and paths as their writers mean them", () => {
    expect(join("https://api.openai.com/v1", "/v1/responses", "?a=1")).toBe("https://api.openai.com/v1/responses?a=1");
    expect(join("https://api.openai.com/v1/", "/responses", "")).toBe("https://api.openai.com/v1/responses");
    expect(join("https://api.anthropic.com", "/v1/messages", "")).toBe("https://api.anthropic.com/v1/messages");
  });
  it("tell what is metered from what is free and what is neither", () => {
    expect(kindOf("POST", "/v1/messages")).toEqual({ api: "anthropic.messages", carried: "metered" });
    expect(kindOf("POST", "/v1/messages/count_tokens").carried).toBe("free");
    expect(kindOf("GET", "/v1/models").carried).toBe("free");
    expect(kindOf("POST", "/v1/messages/batches").carried).toBe("blind");
  });
});

describe("a stream whose usage nobody asked for", () => {
  it("is shown without it, wherever the pieces are cut", () => {
    const asked = `${sse({ id: 1, choices: [{ delta: { content: "a" } }], usage: null }, { id: 1, choices: [], usage: { prompt_tokens: 1 } })}data: [DONE]\n\n`;
    const shown = `${sse({ id: 1, choices: [{ delta: { content: "a" } }] })}data: [DONE]\n\n`;
    fc.assert(
      fc.property(fc.array(fc.nat(asked.length), { maxLength: 12 }), (cuts) => {
        const hide = new UnaskedUsage();
        const whole = bytes(asked);
        let [from, out] = [0, ""];
        for (const to of [...cuts.toSorted((a, b) => a - b), whole.length]) {
          out += new TextDecoder().decode(hide.pass(whole.subarray(from, to)) ?? new Uint8Array());
          from = Math.max(from, to);
        }
        expect(out + new TextDecoder().decode(hide.flush() ?? new Uint8Array())).toBe(shown);
      }),
    );
  });
  it("is not looked for in a line without an end, which passes as it comes", () => {
    const hide = new UnaskedUsage();
    const piece = bytes("a".repeat(64 * 1024));
    let [out, held] = [0, 0];
    for (let i = 0; i < 1_000; i++) {
      out += hide.pass(piece)?.byteLength ?? 0;
      held = Math.max(held, (i + 1) * piece.byteLength - out);
    }
    expect(held).toBeLessThanOrEqual(256 * 1024);
    const rest = `tail\n${sse({ choices: [], usage: { prompt_tokens: 3 } }, { choices: [{ delta: {} }], usage: null })}`;
    const last = new TextDecoder().decode(hide.pass(bytes(rest)) ?? new Uint8Array());
    expect([out, last, hide.flush()]).toEqual([1_000 * piece.byteLength, `tail\n${sse({ choices: [{ delta: {} }] })}`, null]);
  });
  it("is asked for in a body that else stays as it was, byte by byte", () => {
    expect(new TextDecoder().decode(askingForUsage(bytes(' {"n": 12345678901234567890, "é":1}')))).toBe(' {"stream_options":{"include_usage":true},"n": 12345678901234567890, "é":1}');
  });
});

it("a refused call is made again only as upstream says, and not for long", () => {
  const headers = (entries: Record<string, string>) => new Headers(entries);
  expect(waitFor(429, headers({ "retry-after": "2" }), 1, 0)).toBe(2_000);
  expect(waitFor(529, headers({}), 2, 0)).toBe(1_000);
  expect(waitFor(429, headers({ "retry-after": "600" }), 1, 0)).toBeNull();
  expect(waitFor(429, headers({}), 3, 0)).toBeNull();
  expect(waitFor(429, headers({ "x-should-retry": "false" }), 1, 0)).toBeNull();
  expect(waitFor(500, headers({}), 1, 0)).toBeNull();
});

it("a cell of a table is no formula", () => {
  const row = { key: '=cmd|"x"', requests: 1, failed_requests: 0, unpriced_requests: 0, estimated_requests: 0, input_tokens: 1, output_tokens: 1, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: 0.5, cache_hit_rate: null, median_duration_ms: null, median_ttft_ms: null };
  const { key: _, ...total } = row;
  expect(usageCsv({ group_by: "label:team", from: null, to: null, rows: [row], total }).split("\r\n")[1]).toMatch(/^"'=cmd\|""x""",1,/);
  for (const [key, cell] of [["＝1+1", "'＝1+1"], ["a;=1+1", '"a;=1+1"'], ["\t=1", '"\'\t=1"'], ["ordinary", "ordinary"]] as const) expect(usageCsv({ group_by: "model", from: null, to: null, rows: [{ ...row, key }], total }).split("\r\n")[1]).toMatch(new RegExp(`^${RegExp.escape(cell)},1,`));
});
