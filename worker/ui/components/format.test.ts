import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ago, bytes, count, dollars, duration, plain, until } from "./format.ts";

describe("numbers and times for people", () => {
  it("are short, and small sums are not nothing", () => {
    expect([0, 0.0042, 0.42, 42].map(dollars)).toEqual(["$0", "$0.0042", "$0.420", "$42.00"]);
    expect([7, 1_234, 56_789, 2_500_000].map(count)).toEqual(["7", "1.2k", "57k", "2.5M"]);
    expect([7, 1_234, 56_789_000].map(bytes)).toEqual(["7 B", "1.2 KB", "57 MB"]);
    expect([12, 3_412, 61_000, 3_660_000].map(duration)).toEqual(["12 ms", "3.4 s", "1 min 1 s", "1 h 1 min"]);
  });
  it("say how long ago and how much longer", () => {
    const now = Date.parse("2026-11-21T12:00:00Z");
    expect(ago("2026-11-21T11:59:30Z", now)).toBe("now");
    expect(ago("2026-11-21T11:57:00Z", now)).toMatch(/^3 min/);
    expect(["2026-11-21T11:59:00Z", "2026-11-21T12:00:30Z", "2026-11-21T12:12:10Z", "2026-11-23T13:00:00Z"].map((at) => until(at, now))).toEqual(["no longer", "less than a minute left", "12 min left", "2 days left"]);
  });
});

describe("text of others", () => {
  it("shows the signs that would change how it reads, and leaves the rest alone", () => {
    expect(plain("a\u202eb\u0007c\ufeff")).toBe("a‹U+202E›b‹U+0007›c‹U+FEFF›");
    expect(plain("Grüße\t👩‍👩‍👧\n漢字 \u05d0")).toBe("Grüße\t👩‍👩‍👧\n漢字 \u05d0");
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
      const shown = plain(text);
      expect(shown).not.toMatch(/[\u0000-\u0008\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufeff]/);
      expect(plain(shown)).toBe(shown);
    }));
  });
});
