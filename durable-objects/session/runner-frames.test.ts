import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Failure, MAX_TEXT_CHARS, runnerFrame, runnerItem, runStatus } from "../../sdk/protocol/index.ts";
import { log, runId, runnerFrames, taskId } from "../../test/support/frames.ts";
import { isHotItem, parseMessage } from "./runner-frames.ts";

/** Values near to what is expected: right, slightly wrong, anything. */
function near(good: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 30, arbitrary: good }, { weight: 1, arbitrary: fc.jsonValue() });
}
/** Fields that may be there now and then. */
function rarely(value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) as fc.Arbitrary<unknown> }, { weight: 1, arbitrary: value });
}
const digits = fc.integer({ min: 0, max: 9 }).map(String);
const time = fc.oneof(
  { weight: 20, arbitrary: fc.date({ noInvalidDate: true, min: new Date("0001-01-01"), max: new Date("9999-12-31") }).map((date) => date.toISOString()) },
  fc.constantFrom("2026-11-21T00:00:00Z", "2026-11-21T00:00:00.1Z", "2026-11-21T00:00:00.000z", "2026-11-21T00:00:00.000Z\n", "2026-11-21 00:00:00.000Z", "9999-99-99T99:99:99.999Z", "2026-11-21T00:00:00.00٠Z"),
  fc.array(digits, { minLength: 23, maxLength: 25 }).map((all) => all.join("")),
);
const text = fc.oneof(fc.string(), fc.constantFrom("x".repeat(MAX_TEXT_CHARS), "x".repeat(MAX_TEXT_CHARS + 1), "😀\ud800"));
const raw = fc.oneof(fc.jsonValue(), fc.constantFrom({ __proto__: null, a: 1 }, [[[]]]));
const item = fc.record({
  at: near(time),
  type: near(fc.constantFrom("log", "message.delta", "run.status")),
  data: near(fc.oneof(
    fc.record({
      status: near(fc.constantFrom(...runStatus.options)),
      exit_code: rarely(near(fc.oneof(fc.constant(null), fc.integer(), fc.double()))),
      result: rarely(near(fc.oneof(fc.constant(null), text))),
      conversation: rarely(near(fc.oneof(fc.constant(null), fc.string({ maxLength: 600 }), fc.constant("c".repeat(501))))),
      pid: rarely(near(fc.integer())),
      error: rarely(fc.constant({ code: "internal", message: "x" })),
    }),
    fc.record({
      stream: rarely(near(fc.constantFrom("stdout", "stderr", "system"))),
      text: near(text),
      truncated: rarely(near(fc.integer({ min: -1, max: 5 }))),
      encoding: rarely(near(fc.constantFrom("base64", "hex"))),
      more: rarely(fc.jsonValue()),
    }),
  )),
  raw: rarely(raw),
  seq: rarely(fc.nat()),
});

describe("the check of what comes in masses", () => {
  it("takes only what the schema takes, and takes it as the schema would", () => {
    let taken = 0;
    fc.assert(
      fc.property(item, (value) => {
        const wire: unknown = JSON.parse(JSON.stringify(value));
        if (!isHotItem(wire)) return;
        taken++;
        expect(runnerItem.safeParse(wire)).toEqual({ success: true, data: wire });
      }),
      { numRuns: 3_000 },
    );
    expect(taken).toBeGreaterThan(100);
  });
  it("takes what runners send", () => {
    for (const value of [log, { ...log, raw: { a: [1, null, "x", true, { b: 1e300 }] } }, { ...log, data: { stream: "stderr", text: "x", truncated: 3, encoding: "base64" } }, { ...log, type: "message.delta", data: { text: "" } }, { ...log, type: "run.status", data: { status: "completed", exit_code: 0, result: "ok", conversation: null } }]) {
      expect(isHotItem(JSON.parse(JSON.stringify(value)))).toBe(true);
    }
  });
  it("leaves to the schema what JSON can say and an object cannot hold", () => {
    for (const wire of ['{"__proto__":1}', "[1e999]", "[".repeat(40) + "]".repeat(40)]) {
      expect(isHotItem(JSON.parse(`{"at":"2026-11-21T00:00:00.000Z","type":"message.delta","data":{"text":"x"},"raw":${wire}}`))).toBe(false);
    }
  });
});

describe("a message", () => {
  it("is judged as the frames' schema judges it", () => {
    const frames = fc.oneof(
      fc.constantFrom(...runnerFrames.map(({ frame }) => frame)),
      fc.jsonValue(),
      fc.record({ type: fc.constant("events"), from: near(fc.integer({ min: 0, max: 3 })), task_id: near(fc.constantFrom(null, taskId, runId)), run_id: near(fc.constantFrom(null, runId, taskId)), items: fc.array(item, { maxLength: 5 }), more: rarely(fc.jsonValue()) }),
    );
    fc.assert(
      fc.property(frames, (frame) => {
        const text = JSON.stringify(frame);
        const wire: unknown = JSON.parse(text);
        const parsed = runnerFrame.safeParse(wire);
        if (parsed.success) expect(parseMessage(text, () => false)).toEqual([parsed.data]);
        else expect(() => parseMessage(text, () => false)).toThrow(Failure);
      }),
      { numRuns: 1_000 },
    );
  });
  it("is refused naming the field, as the table says", () => {
    for (const { frame, field } of runnerFrames.filter(({ frame }) => !Array.isArray(frame))) {
      let named: string[] = [];
      try {
        parseMessage(JSON.stringify(frame), () => false);
      } catch (error) {
        named = Object.keys((error as Failure).details ?? {});
      }
      if (field === undefined) expect(named).toEqual([]);
      else expect(named).toContain(field);
    }
  });
});
