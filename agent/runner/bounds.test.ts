import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_EVENT_CHARS, MAX_INPUT_CHARS, MAX_TEXT_CHARS, runnerItem, type Json } from "../../sdk/protocol/index.ts";
import { cut, cutJson, encode, type Unstamped } from "./bounds.ts";

const AT = "2026-11-21T00:00:00.000Z";
const read = (event: Unstamped, raw = true) => encode(event, AT, raw).map((text) => runnerItem.parse(JSON.parse(text)));
/** Texts that grow most in JSON, in UTF-8, or when they are cut. */
const TEXTS = ["\0", "\x1b", '"', "\\", "ä", "\u{1f600}", "\ud800", "a"].map((char) => char.repeat(200_000)).concat("x".repeat(MAX_TEXT_CHARS), "x".repeat(MAX_TEXT_CHARS + 1), "");

describe("an event", () => {
  const make: ((text: string) => Unstamped)[] = [
    (text) => ({ type: "message", data: { text } }), (text) => ({ type: "thinking", data: { text } }), (text) => ({ type: "message.delta", data: { text } }),
    (text) => ({ type: "tool.call", data: { call_id: text || "x", tool: text || "x", input: { command: text, more: [text, { [text.slice(0, 300)]: text }] }, summary: text } }), (text) => ({ type: "tool.result", data: { call_id: "c", output: text, is_error: false } }),
    (text) => ({ type: "file.changed", data: { path: "a", change: "modified", diff: text } }), (text) => ({ type: "progress", data: { text } }), (text) => ({ type: "error", data: { message: text, hint: text } }),
    (text) => ({ type: "plan", data: { items: Array.from({ length: 300 }, () => ({ text, status: "pending" as const })) } }), (text) => ({ type: "run.status", data: { status: "failed", result: text, conversation: text, error: { code: "internal", message: text, hint: text } } }),
    (text) => ({ type: "file.changed", data: { path: text, change: "modified" } }), (text) => ({ type: "log", data: { stream: "stdout", text } }), (text) => ({ type: "message", data: { text: "x" }, raw: { text } }),
  ];
  it("fits the wire, whatever is in it", () => {
    for (const text of TEXTS) {
      for (const event of make.map((each) => each(text))) {
        const items = encode(event, AT, true);
        for (const item of items) {
          expect(item.length).toBeLessThanOrEqual(MAX_EVENT_CHARS);
          expect(runnerItem.safeParse(JSON.parse(item)).error).toBeUndefined();
        }
      }
    }
  });

  it("says how much was cut", () => {
    expect(read({ type: "message", data: { text: "x".repeat(MAX_TEXT_CHARS + 10) } })[0]?.data).toMatchObject({ truncated: 10 });
    expect(read({ type: "tool.result", data: { call_id: "c", output: "x".repeat(MAX_TEXT_CHARS + 10), is_error: false, truncated: 5 } })[0]?.data).toMatchObject({ truncated: 15 });
    expect(read({ type: "message", data: { text: "short" } })[0]?.data).toEqual({ text: "short" });
  });

  it("of output becomes several rather than lose any", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("a", "\u{1f600}", "\n", "ä", "\x1b"), { minLength: 1, maxLength: 50 }), fc.integer({ min: 1, max: 20_000 }), (pattern, times) => {
        const text = pattern.join("").repeat(Math.ceil(times / pattern.length) * 5);
        const items = read({ type: "log", data: { stream: "stderr", text, truncated: 3 } });
        expect(items.map(({ data }) => (data as { text: string }).text).join("")).toBe(text);
        expect(items.map(({ data }) => (data as { truncated?: number }).truncated ?? 0).reduce((a, b) => a + b)).toBe(3);
      }),
      { numRuns: 30 },
    );
    const bytes = Buffer.alloc(200_000, 0xff);
    const pieces = read({ type: "log", data: { stream: "stdout", text: bytes.toString("base64"), encoding: "base64" } });
    expect(Buffer.concat(pieces.map(({ data }) => Buffer.from((data as { text: string }).text, "base64")))).toEqual(bytes);
  });

  it("keeps the agent's own record only where it is wanted, and says where it was too large", () => {
    const event: Unstamped = { type: "message", data: { text: "x" }, raw: { a: 1 } };
    expect(read(event)[0]?.raw).toEqual({ a: 1 });
    expect(read(event, false)[0]?.raw).toBeUndefined();
    expect(read({ ...event, raw: "y".repeat(70_000) })[0]?.raw).toEqual({ truncated: 70_002 });
  });

  it("that cannot be said becomes an error that says so", () => {
    const items = read({ type: "usage", data: { input_tokens: -1, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: null, model: null } });
    expect(items).toMatchObject([{ type: "error", data: { message: expect.stringContaining("usage") as string } }]);
  });
});

it("cutting parts no pair of surrogates", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.nat(20), (text, max) => {
      const kept = cut(text, max);
      expect(kept.length).toBeLessThanOrEqual(max);
      expect(text.startsWith(kept)).toBe(true);
      expect(kept.isWellFormed()).toBe(true);
    }),
  );
});

it("an input of any shape and size is cut to what a request holds", () => {
  const large: Json[] = [{ content: "x".repeat(1_000_000) }, Array.from({ length: 100_000 }, (_, i) => i), "\0".repeat(300_000), Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`key${i}`, i])), { a: { b: Array.from({ length: 40 }, () => "y".repeat(9_000)) } }];
  for (const input of large) {
    const { value, truncated } = cutJson(input);
    expect(JSON.stringify(value).length).toBeLessThanOrEqual(MAX_INPUT_CHARS);
    expect(truncated).toBeGreaterThan(0);
  }
  expect(cutJson({ a: 1 })).toEqual({ value: { a: 1 }, truncated: 0 });
});
