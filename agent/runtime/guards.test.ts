import { describe, expect, it } from "vitest";
import { addUsage, NO_USAGE } from "./events.ts";
import { Meter } from "./budget.ts";
import { Guards, repeated, type Outcome } from "./guards.ts";
import { LIST_PRICES, listPricing, pricingFrom } from "./pricing.ts";
import { ModelError } from "./models/provider.ts";
import { DEFAULT_RETRIES, retryAfterOf, retryDelay } from "./models/retry.ts";

const outcome = (key: string | null, more: Partial<Outcome> = {}): Outcome => ({ tool: "t", key, isError: false, misfit: false, ...more });
const kinds = (outcomes: Outcome[]) => {
  const guards = new Guards();
  return outcomes.map((one) => guards.take([one]).kind);
};

describe("the guards", () => {
  it("let work go on", () => {
    expect(kinds(Array.from({ length: 100 }, (_, i) => outcome(String(i), { isError: i % 3 === 0 })))).toEqual(Array<string>(100).fill("go-on"));
  });
  it("warn after five failures in a row and stop after ten; a success begins anew", () => {
    const failing = (n: number) => Array.from({ length: n }, (_, i) => outcome(String(i), { isError: true }));
    expect(kinds(failing(10))).toEqual([...Array<string>(4).fill("go-on"), ...Array<string>(5).fill("warn"), "stop"]);
    expect(kinds([...failing(9), outcome("ok"), ...failing(4)]).at(-1)).toBe("go-on");
  });
  it("stop at the fourth unfit input of one tool in a row, not of several tools", () => {
    const misfit = (tool: string, i: number) => outcome(String(i), { tool, isError: true, misfit: true });
    expect(kinds([0, 1, 2, 3].map((i) => misfit("a", i)))).toEqual(["go-on", "go-on", "go-on", "stop"]);
    expect(kinds([misfit("a", 0), misfit("b", 1), misfit("a", 2), misfit("b", 3)]).at(-1)).toBe("go-on");
  });
  it.each([[1, ["a"]], [2, ["a", "b"]], [3, ["a", "b", "c"]], [4, ["a", "b", "c", "d"]]])("see a round of %i that repeats: warned at its third time, stopped at its fifth", (length, round) => {
    const seen = kinds(Array.from({ length: length * 5 }, (_, i) => outcome(round[i % length] ?? "")));
    expect(seen.indexOf("warn")).toBe(length * 3 - 1);
    expect(seen.indexOf("stop")).toBe(length * 5 - 1);
  });
  it("stop nothing at calls that were made at once before their results were seen", () => {
    for (const outcomes of [Array.from({ length: 20 }, (_, i) => outcome(String(i), { isError: true })), Array.from({ length: 20 }, () => outcome("same"))]) {
      const guards = new Guards();
      expect([guards.take(outcomes).kind, guards.take(outcomes).kind]).toEqual(["warn", "stop"]);
    }
    const guards = new Guards();
    const misfits = (round = 0) => Array.from({ length: 4 }, (_, i) => outcome(`${round} ${i}`, { misfit: true }));
    expect([1, 2, 3, 4].map((round) => guards.take(misfits(round)).kind)).toEqual(["go-on", "go-on", "go-on", "stop"]);
    expect(new Guards().take([...misfits(), outcome("fits"), ...misfits()]).kind).toBe("go-on");
  });
  it("do not take tests that fail alike between edits for a loop", () => {
    expect(kinds(Array.from({ length: 16 }, (_, i) => outcome(i % 2 === 0 ? `edit ${i}` : "npm test fails"))).includes("stop")).toBe(false);
  });
  it("let a job be waited for", () => {
    expect(new Set(kinds(Array.from({ length: 50 }, () => outcome(null))))).toEqual(new Set(["go-on"]));
  });
  it("count the longest repetition", () => {
    expect(repeated(["x", "a", "b", "a", "b", "a", "b"])).toEqual({ times: 3, length: 2 });
    expect(repeated(["a"])).toEqual({ times: 1, length: 1 });
  });
});

describe("the meter", () => {
  const used = (cost: number | null, tokens = 10) => ({ ...NO_USAGE, inputTokens: tokens, costUsd: cost });
  it("counts into the turns above, and is bounded by them", () => {
    const above = new Meter({ maxModelCallsPerTurn: 3, maxCostUsdPerTurn: 1 });
    const below = new Meter({ maxTokensPerTurn: 100 }, above);
    above.add(used(0.4));
    below.add(used(0.4));
    expect(below.exhausted).toBeNull();
    expect(below.limitsCost).toBe(true);
    below.add(used(0.4));
    expect(below.exhausted).toMatchObject({ limit: "maxModelCallsPerTurn", note: "the turn above: this turn has made all of its 3 model calls" });
    expect(above.usage.costUsd).toBeCloseTo(1.2);
    expect(below.modelCalls).toBe(2);
  });
  it("gives a timer what a timer takes", () => {
    expect([undefined, 1.1, 0.000_01, 30 * 86_400, 1e300].map((maxSecondsPerTurn) => new Meter({ ...(maxSecondsPerTurn !== undefined && { maxSecondsPerTurn }) }).milliseconds)).toEqual([null, 1_100, 1, null, null]);
  });
  it("knows that a sum with an unknown part is unknown, and bounds by the rest", () => {
    const meter = new Meter({ maxCostUsdPerTurn: 1 });
    meter.add(used(null));
    meter.add(used(2));
    expect(meter.usage.costUsd).toBeNull();
    expect(meter.exhausted).toMatchObject({ limit: "maxCostUsdPerTurn" });
    expect(addUsage(used(1), used(2)).costUsd).toBe(3);
  });
});

describe("prices", () => {
  const million = { ...NO_USAGE, inputTokens: 1e6, outputTokens: 1e6, cacheReadTokens: 1e6, cacheWriteTokens: 1e6 };
  it("come from the longest name that fits, with or without the vendor's prefix", () => {
    expect(listPricing("claude-sonnet-4-5-20250929", million)).toBeCloseTo(3 + 15 + 0.3 + 3.75);
    expect(listPricing("anthropic/claude-opus-4-5", { ...million, cacheReadTokens: 0, cacheWriteTokens: 0 })).toBeCloseTo(30);
    expect(listPricing("gpt-4o-mini-2024-07-18", { ...NO_USAGE, outputTokens: 1e6 })).toBeCloseTo(LIST_PRICES["gpt-4o-mini"]?.output ?? 0);
    expect(listPricing("mystery", million)).toBeNull();
    for (const other of ["o3-pro", "o3-mini-2026-01-01", "gpt-5.7", "gpt-5-nano-audio-preview", "gpt-4o-realtime-preview", "gpt-50", "o30"]) expect([other, listPricing(other, million)]).toEqual([other, null]);
    for (const [same, as] of [["gpt-5-codex", "gpt-5"], ["gpt-4.1-nano-2025-04-14", "gpt-4.1-nano"], ["o3-2025-04-16", "o3"], ["claude-sonnet-4-5@20250929", "claude-sonnet-4"], ["anthropic/claude-sonnet-4.5", "claude-sonnet-4"], ["anthropic/claude-opus-4.5:beta", "claude-opus-4-5"], ["openai/gpt-4.1-mini", "gpt-4.1-mini"]] as const) expect([same, listPricing(same, million)]).toEqual([same, listPricing(as, million)]);
    const all = pricingFrom({ "": { input: 1, output: 1 }, "house-": { input: 2, output: 2 } });
    expect([all("anything-mini", million), all("house-mini", million)].map((cost) => Math.round(cost ?? 0))).toEqual([3, 7]);
    expect(pricingFrom({ "own/model": { input: 1, output: 2, cacheRead: 0, cacheWrite: 0 } })("own/model", million)).toBe(3);
  });
});

describe("retries", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  it("read what the server asks for", () => {
    expect(retryAfterOf({ "retry-after": "7" }, now)).toBe(7_000);
    expect(retryAfterOf({ "retry-after": "0.5" }, now)).toBe(500);
    expect(retryAfterOf({ "retry-after-ms": "20", "retry-after": "7" }, now)).toBe(20);
    expect(retryAfterOf({ "retry-after": "Thu, 01 Jan 2026 00:00:09 GMT" }, now)).toBe(9_000);
    expect([retryAfterOf({}, now), retryAfterOf(undefined, now), retryAfterOf({ "retry-after": "soon" }, now), retryAfterOf({ "retry-after": "-1" }, now)]).toEqual([null, null, null, null]);
  });
  it("wait as asked, else longer and longer, and not for ever", () => {
    const error = (retryAfterMs: number | null) => new ModelError("rate_limited", "x", { retryAfterMs });
    expect(retryDelay(error(7_000), 1, DEFAULT_RETRIES, 0)).toBe(7_000);
    expect([1, 2, 3, 4, 5, 6].map((attempt) => retryDelay(error(null), attempt, DEFAULT_RETRIES, 1))).toEqual([500, 1_000, 2_000, 4_000, 8_000, null]);
    expect(retryDelay(error(null), 1, DEFAULT_RETRIES, 0)).toBe(250);
    expect(retryDelay(error(600_000), 1, DEFAULT_RETRIES, 0)).toBeNull();
    expect(retryDelay(new ModelError("auth", "x"), 1, DEFAULT_RETRIES, 0)).toBeNull();
  });
});
