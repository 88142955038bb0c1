import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isId, newChildId, newId, sessionOf, timeOf, type Resource } from "./ids.ts";

const T0 = Date.UTC(2026, 10, 21);

describe("ids", () => {
  it("sort by creation as strings", () => {
    fc.assert(
      fc.property(fc.nat(2 ** 42), fc.nat(2 ** 42), (a, b) => {
        fc.pre(a !== b);
        expect(newId("session", a) < newId("session", b)).toBe(a < b);
      }),
    );
  });
  it("give back the time at which they were made, to the millisecond", () => {
    expect(timeOf(newId("tenant", T0 + 123))).toBe(T0 + 123);
    expect(timeOf(newChildId("task", newId("session", 1), T0))).toBe(T0);
  });
  it("of a child carry their session", () => {
    const session = newId("session", T0);
    for (const resource of ["task", "run", "permission"] as const) expect(sessionOf(newChildId(resource, session, T0))).toBe(session);
  });
  it("of one resource are not taken for another's", () => {
    const all: Resource[] = ["tenant", "session", "runner", "host", "key", "workspace"];
    for (const a of all) for (const b of all) expect(isId(b, newId(a, T0))).toBe(a === b);
  });
  it("never repeat", () => {
    expect(new Set(Array.from({ length: 10_000 }, () => newId("session", T0))).size).toBe(10_000);
  });
  it("that are no child's id have no session", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(sessionOf(text)).toBeNull();
      }),
    );
    expect(sessionOf(newId("session", T0))).toBeNull();
  });
});
