/** Owns the tests of due times: what a cron expression means in a time zone, also where its clocks change, and what is refused in which words. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cronProblem, dueBetween, nextDue } from "./cron.ts";

const BERLIN = "Europe/Berlin";
const utc = (text: string) => Date.parse(`${text}:00Z`);
/** The next due times after a time, in UTC, to the minute. */
function due(cron: string, timezone: string, after: string, count: number): string[] {
  const all: string[] = [];
  for (let at = nextDue({ cron, timezone }, utc(after)); at !== null && all.length < count; at = nextDue({ cron, timezone }, at)) all.push(new Date(at).toISOString().slice(5, 16));
  return all;
}

describe("due times", () => {
  it("are those of the zone's own clock", () => {
    expect(due("0 9 * * MON-FRI", BERLIN, "2026-11-20T12:00", 2)).toEqual(["11-23T08:00", "11-24T08:00"]);
    expect(due("0 9 * * MON-FRI", "America/New_York", "2026-11-20T18:00", 1)).toEqual(["11-23T14:00"]);
    expect(due("@daily", "Asia/Kolkata", "2026-11-20T12:00", 1)).toEqual(["11-20T18:30"]);
    expect(due("0 0 L * *", "UTC", "2027-02-01T00:00", 1)).toEqual(["02-28T00:00"]);
    expect(due("0 0 29 2 *", "UTC", "2026-11-20T12:00", 2)).toEqual(["02-29T00:00", "02-29T00:00"]);
  });

  it("in an hour that is skipped come when the gap ends, once; what repeats follows the real time", () => {
    // 28 March 2027, 02:00 becomes 03:00 (01:00 UTC).
    expect(due("30 2 * * *", BERLIN, "2027-03-27T00:00", 3)).toEqual(["03-27T01:30", "03-28T01:00", "03-29T00:30"]);
    expect(due("0,30 2 * * *", BERLIN, "2027-03-27T02:00", 3)).toEqual(["03-28T01:00", "03-29T00:00", "03-29T00:30"]);
    expect(due("*/30 * * * *", BERLIN, "2027-03-28T00:00", 4)).toEqual(["03-28T00:30", "03-28T01:00", "03-28T01:30", "03-28T02:00"]);
  });

  it("in an hour that comes twice come at its first, once; what repeats follows the real time", () => {
    // 31 October 2027, 03:00 becomes 02:00 (01:00 UTC).
    expect(due("30 2 * * *", BERLIN, "2027-10-30T12:00", 2)).toEqual(["10-31T00:30", "11-01T01:30"]);
    expect(due("30 2 * * *", BERLIN, "2027-10-31T01:10", 1)).toEqual(["11-01T01:30"]);
    expect(due("0 * * * *", BERLIN, "2027-10-30T23:10", 4)).toEqual(["10-31T00:00", "10-31T01:00", "10-31T02:00", "10-31T03:00"]);
    // On the southern half of the earth it is the other way round: 4 April 2027, 03:00 becomes 02:00 (16:00 UTC).
    expect(due("30 2 * * *", "Australia/Sydney", "2027-04-02T20:00", 3)).toEqual(["04-03T15:30", "04-04T16:30", "04-05T16:30"]);
  });

  it("grow, lie on whole minutes, and are counted up to a limit", () => {
    const field = (max: number, min = 0) => fc.oneof(fc.constant("*"), fc.integer({ min, max }).map(String), fc.integer({ min: 2, max: 20 }).map((step) => `*/${step}`));
    const cron = fc.tuple(field(59), field(23), field(28, 1)).map(([minute, hour, day]) => `${minute} ${hour} ${day} * *`);
    const zone = fc.constantFrom("UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia");
    fc.assert(
      fc.property(cron, zone, fc.integer({ min: Date.UTC(2020, 0), max: Date.UTC(2035, 0) }), (expression, timezone, from) => {
        const rule = { cron: expression, timezone };
        let at = from;
        for (let i = 0; i < 20; i++) {
          const next = nextDue(rule, at);
          expect(next).not.toBeNull();
          expect((next as number) - at).toBeGreaterThan(0);
          expect((next as number) % 60_000).toBe(0);
          // Nothing between is due, from wherever one asks.
          expect(nextDue(rule, Math.max(at, (next as number) - 1))).toBe(next);
          at = next as number;
        }
        expect(dueBetween(rule, from, at, 1_000)).toBe(20);
        expect(dueBetween(rule, from, at - 1, 1_000)).toBe(19);
        expect(dueBetween(rule, from, at, 7)).toBe(7);
      }),
      { numRuns: 60 },
    );
  });
});

describe("what makes no schedule", () => {
  const problem = (cron: string, timezone = BERLIN) => cronProblem(cron, timezone, utc("2026-11-21T12:00"));

  it("is refused with the field and words", () => {
    expect(problem("0 9 * * *")).toBeNull();
    expect(problem("@hourly")).toBeNull();
    expect(problem("0 9 * * *", "Europe/Nowhere")).toEqual({ field: "timezone", message: expect.stringContaining("no time zone is called 'Europe/Nowhere'") });
    expect(problem("* * * * * *")).toEqual({ field: "cron", message: expect.stringContaining("once a minute at most") });
    expect(problem("0 0 30 2 *")).toEqual({ field: "cron", message: expect.stringContaining("never fires") });
    expect(problem("0 0 31 4,6,9,11 *")?.message).toContain("never fires");
    expect(problem("0 9 * *")?.message).toContain("4 of five fields");
    expect(problem("60 * * * *")?.message).toContain("cannot be read: Invalid value for minute");
    for (const bad of ["soon", "", "@reboot", "* * * * mo", "*/0 * * * *", "1-0 * * * *", "a b c d e", "* * * * * * * * *", "--- * * * *"]) expect(problem(bad)?.field, `${bad}`).toBe("cron");
  });

  it("never throws and never takes long, whatever is given", () => {
    const word = fc.oneof(fc.stringMatching(/^[0-9*/,#LW?A-Z+-]{1,12}$/), fc.string({ maxLength: 10 }));
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 7 }).map((parts) => parts.join(" ")), fc.oneof(fc.constant("UTC"), fc.string({ maxLength: 20 })), (cron, timezone) => {
        const found = problem(cron, timezone);
        if (found === null) expect(nextDue({ cron, timezone }, utc("2026-11-21T12:00"))).not.toBeNull();
        else expect(found.message).not.toContain("undefined");
      }),
      { numRuns: 500 },
    );
  });
});
