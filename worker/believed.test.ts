import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Believed } from "./believed.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"] }));
afterEach(() => void vi.useRealTimers());
const later = (ms: number) => vi.setSystemTime(Date.now() + ms);

describe("what an isolate believes", () => {
  it("is asked for again after a while, and holds on while nobody can answer, but not for ever", async () => {
    const believed = new Believed<number>();
    let reads = 0;
    const answer = async () => ++reads;
    const away = () => Promise.reject(new Error("away"));
    expect([await believed.find("a", answer), await believed.find("a", answer)]).toEqual([1, 1]);
    later(5_001);
    expect(await believed.find("a", answer)).toBe(2);
    later(60_000);
    expect(await believed.find("a", away)).toBe(2);
    await expect(believed.find("b", away)).rejects.toThrow("away");
    later(15 * 60_000);
    await expect(believed.find("a", away)).rejects.toThrow("away");
    expect(await believed.find("a", answer)).toBe(3);
    believed.forget("a");
    expect(await believed.find("a", answer)).toBe(4);
  });
});
