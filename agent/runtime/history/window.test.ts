import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { callsOf, mended, type Message } from "./messages.ts";
import { tokensOf, Window } from "./window.ts";

const user = (text: string): Message => ({ role: "user", content: [{ type: "text", text }] });
const says = (text: string): Message => ({ role: "assistant", content: [{ type: "text", text }] });
const calls = (...ids: string[]): Message => ({ role: "assistant", content: ids.map((callId) => ({ type: "tool-call", callId, tool: "read", input: {} })) });
const results = (content: string, ...ids: string[]): Message => ({ role: "tool", content: ids.map((callId) => ({ type: "tool-result", callId, tool: "read", content })) });
const size = (messages: readonly Message[]) => messages.reduce((sum, one) => sum + tokensOf(one), 0);

/** Every call has its results in the next message, and no result is without its call. */
function paired(messages: readonly Message[]): boolean {
  return messages.every((one, i) => {
    const ids = callsOf(one).map(({ callId }) => callId);
    const next = messages[i + 1];
    const answered = next?.role === "tool" ? next.content.map(({ callId }) => callId) : [];
    return one.role === "tool" ? callsOf(messages[i - 1]).length > 0 : ids.length === 0 || (ids.length === answered.length && ids.every((id) => answered.includes(id)));
  });
}

/** Turns of a conversation, whole; sizes vary. */
const turn = fc.tuple(fc.nat(400), fc.array(fc.tuple(fc.nat(8_000), fc.integer({ min: 1, max: 3 })), { maxLength: 4 }), fc.nat(400));
const conversation = fc.array(turn, { minLength: 1, maxLength: 25 }).map((turns) => {
  let serial = 0;
  return turns.flatMap(([asked, rounds, said]) => [
    user("u".repeat(asked + 1)),
    ...rounds.flatMap(([length, count]) => {
      const ids = Array.from({ length: count }, () => `c${++serial}`);
      return [calls(...ids), results("r".repeat(length + 1), ...ids)];
    }),
    says("a".repeat(said + 1)),
  ]);
});

describe("the window", () => {
  it("sends everything, and the very same messages, while there is room", () => {
    const messages = [user("a"), calls("1"), results("b", "1"), says("c")];
    expect(new Window({ tokens: 10_000 }).fit(messages)).toEqual({ view: messages, note: null });
  });

  it("shortens old results before it leaves anything out, and says so", () => {
    const messages = Array.from({ length: 20 }, (_, i) => [user(`question ${i}`), calls(`${i}`), results("x".repeat(4_000), `${i}`), says("fine")]).flat();
    const { view, note } = new Window({ tokens: 20_000 }).fit(messages);
    expect(note).toBe("the conversation is long: old tool results were shortened");
    expect(view).toHaveLength(messages.length);
    expect(JSON.stringify(view[2])).toContain("the rest of this result of read, 4000 characters in all, was left out");
    expect(view.slice(-4)).toEqual(messages.slice(-4));
  });

  it("leaves the oldest exchanges out where that is not enough, and says how many", () => {
    const messages = Array.from({ length: 100 }, (_, i) => [user(`question ${i} ${"q".repeat(800)}`), says("fine")]).flat();
    const { view, note } = new Window({ tokens: 10_000 }).fit(messages);
    expect(note).toMatch(/the oldest \d+ messages were left out/);
    expect(JSON.stringify(view[0])).toMatch(/its first \d+ messages were left out/);
    expect(view.at(-1)).toBe(messages.at(-1));
  });

  it("keeps the request of a turn that is longer than it holds, in a note that stays the same", () => {
    const window = new Window({ tokens: 6_000 });
    const messages: Message[] = [user("an old question"), says("an old answer"), user("rename every module, but never touch legacy/"), user("<notice>\nthe runner died\n</notice>")];
    const notes = new Set<unknown>();
    for (let i = 0; i < 300; i++) {
      messages.push(calls(`${i}`), results("x".repeat(500), `${i}`));
      const { view } = window.fit(messages);
      expect(JSON.stringify(view)).toContain("never touch legacy/");
      notes.add(view[0]);
    }
    expect(JSON.stringify([...notes].at(-1))).toMatch(/messages were left out.*The request that you are working on:/);
    expect(JSON.stringify([...notes].at(-1))).not.toContain("the runner died");
    expect(notes.size).toBeLessThan(30);
    messages.push(says("done"), user("and now?"), says("z".repeat(30_000)));
    expect(JSON.stringify(window.fit(messages).view[0])).not.toContain("legacy/");
  });

  it("keeps what it sends alike from call to call", () => {
    const window = new Window({ tokens: 8_000 });
    const messages: Message[] = [];
    let before: readonly Message[] = [];
    let cuts = 0;
    for (let i = 0; i < 300; i++) {
      messages.push(user(`question ${i}`), calls(`${i}`), results("x".repeat(2_000), `${i}`), says("fine"));
      const { view, note } = window.fit(messages);
      if (note === null) expect(view.slice(0, before.length).every((one, at) => one === before[at])).toBe(true);
      else cuts++;
      before = view;
    }
    expect(cuts).toBeLessThan(60);
  });

  it("never splits a pair, keeps the newest message and comes under its limit where it can", () => {
    fc.assert(fc.property(conversation, fc.integer({ min: 2_000, max: 30_000 }), (messages, tokens) => {
      const window = new Window({ tokens });
      for (let end = 1; end <= messages.length; end++) {
        if (callsOf(messages[end - 1]).length > 0) continue;
        const { view } = window.fit(messages.slice(0, end));
        expect(paired(view)).toBe(true);
        expect(view.at(-1)?.role).toBe(messages[end - 1]?.role);
        const newest = messages.slice(Math.max(0, end - 9), end);
        expect(size(view)).toBeLessThanOrEqual(Math.max(tokens, size(newest) + 400));
      }
    }), { numRuns: 80 });
  });
});

describe("a broken history", () => {
  it("is mended: every call answered once in the next message, whatever was cut", () => {
    fc.assert(fc.property(conversation, fc.infiniteStream(fc.boolean()), (messages, keep) => {
      const cut = messages.filter(() => keep.next().value);
      const whole = mended(cut);
      expect(paired(whole)).toBe(true);
      expect(mended(whole)).toBe(whole);
    }));
  });
});
