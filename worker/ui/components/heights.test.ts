import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Heights } from "./heights.ts";

const act = fc.oneof(
  fc.record({ what: fc.constant("grow" as const), n: fc.nat(300) }),
  fc.record({ what: fc.constant("prepend" as const), n: fc.nat(40) }),
  fc.record({ what: fc.constant("set" as const), n: fc.nat(2_000), height: fc.nat(400) }),
);

describe("heights", () => {
  it("sum and search like a plain list of them, however rows come and are measured", () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 30 }), (acts) => {
        const heights = new Heights(56);
        let plain: number[] = [];
        for (const each of acts) {
          if (each.what === "grow") {
            plain = [...plain, ...Array.from({ length: each.n }, () => 56)];
            heights.grow(plain.length);
          } else if (each.what === "prepend") {
            plain = [...Array.from({ length: each.n }, () => 56), ...plain];
            heights.prepend(each.n);
          } else if (plain.length > 0) {
            const index = each.n % plain.length;
            expect(heights.set(index, each.height)).toBe(each.height - (plain[index] ?? 0));
            plain[index] = each.height;
          }
        }
        expect([heights.count, heights.total]).toEqual([plain.length, plain.reduce((sum, each) => sum + each, 0)]);
        let offset = 0;
        for (const [i, height] of plain.entries()) {
          expect([heights.get(i), heights.offset(i)]).toEqual([height, offset]);
          if (height > 0) expect([heights.at(offset), heights.at(offset + height - 1)]).toEqual([i, i]);
          offset += height;
        }
        if (plain.length > 0) expect([heights.at(-5) <= heights.at(0), heights.at(offset + 5)]).toEqual([true, plain.length - 1]);
      }),
    );
  });
});
