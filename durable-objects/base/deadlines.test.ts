/** Owns the tests of deadlines: the earliest of some, growing pauses, and when the one alarm is set anew. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { alarmMove, backoff, earliest } from "./deadlines.ts";

const T0 = Date.UTC(2026, 10, 21);

describe("an alarm", () => {
  it("is set where there is none, moved earlier, and else left as it is", () => {
    expect(alarmMove(null, T0 + 5, T0)).toBe(T0 + 5);
    expect(alarmMove(null, T0 - 5, T0)).toBe(T0 - 5);
    expect(alarmMove(T0 + 5, T0 + 4, T0)).toBe(T0 + 4);
    expect(alarmMove(T0 + 5, T0 + 5, T0)).toBeNull();
    expect(alarmMove(T0 + 5, T0 + 6, T0)).toBeNull();
    for (const current of [null, T0 + 5, T0 - 60_000]) expect(alarmMove(current, null, T0)).toBeNull();
  });

  it("that is a little late is waited for, and one that should have rung long ago is set anew", () => {
    expect(alarmMove(T0 - 10_000, T0 + 5, T0)).toBeNull();
    expect(alarmMove(T0 - 10_001, T0 + 5, T0)).toBe(T0 + 5);
    expect(alarmMove(T0 - 86_400_000, T0 - 10, T0)).toBe(T0 - 10);
  });

  it("is never later than what is wanted, but for one that is about to ring", () => {
    fc.assert(
      fc.property(fc.option(fc.integer({ min: -100_000, max: 100_000 })), fc.integer({ min: -100_000, max: 100_000 }), (current, wanted) => {
        const at = alarmMove(current === null ? null : T0 + current, T0 + wanted, T0) ?? T0 + (current ?? Number.NaN);
        expect(at <= T0 + wanted || (at <= T0 && at >= T0 - 10_000)).toBe(true);
      }),
    );
  });
});

describe("deadlines", () => {
  it("are the earliest of those that there are", () => {
    expect(earliest()).toBeNull();
    expect(earliest(null, undefined)).toBeNull();
    expect(earliest(7, null, 3, undefined, 9)).toBe(3);
    expect(earliest(0, 1)).toBe(0);
  });

  it("of repeats grow from the base to the cap", () => {
    const pauses = { base_ms: 100, cap_ms: 60_000 };
    expect([0, 1, 2, 3, 10, 11, 1_000].map((tries) => backoff(tries, pauses))).toEqual([100, 100, 200, 400, 51_200, 60_000, 60_000]);
  });
});
