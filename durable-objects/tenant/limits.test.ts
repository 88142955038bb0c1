/** Owns the tests of the token bucket: a table of tries, and the property that no window lets more through than it may. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Buckets, take, type Bucket } from "./limits.ts";

const T0 = Date.UTC(2026, 0, 1);

describe("a token bucket", () => {
  it("admits a minute's worth at once, then one each time that a token has come", () => {
    let bucket: Bucket | undefined;
    const tries = [0, 0, 0, 0, 19_999, 20_000, 20_000, 60_000].map((ms) => {
      const taken = take(bucket, 3, T0 + ms);
      bucket = taken.bucket;
      return taken.admission;
    });
    expect(tries.map(({ admitted }) => admitted)).toEqual([true, true, true, false, false, true, false, true]);
    expect(tries[0]).toEqual({ admitted: true, limit: 3, remaining: 2, reset_seconds: 20 });
    expect(tries[3]).toEqual({ admitted: false, limit: 3, retry_after_seconds: 20 });
  });

  it("admits nothing where the limit is nothing", () => {
    expect(take(undefined, 0, T0).admission).toEqual({ admitted: false, limit: 0, retry_after_seconds: 60 });
  });

  it("follows a limit that was raised or lowered", () => {
    const { bucket } = take({ tokens: 30, at: T0 }, 10, T0);
    expect(bucket.tokens).toBe(9);
    expect(take(bucket, 600, T0 + 60_000).admission).toMatchObject({ remaining: 599 });
  });

  it("lets no minute admit more than twice the limit, and no hour more than its share and one burst", () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 50 }), fc.array(fc.integer({ min: 0, max: 5_000 }), { maxLength: 300 }), (limit, pauses) => {
      const buckets = new Buckets();
      let now = T0;
      const admitted: number[] = [];
      for (const pause of pauses) {
        now += pause;
        if (buckets.take("key", limit, now).admitted) admitted.push(now);
      }
      for (const [i, at] of admitted.entries()) {
        const later = admitted.slice(i);
        expect(later.filter((each) => each < at + 60_000).length).toBeLessThanOrEqual(limit * 2);
      }
      expect(admitted.length).toBeLessThanOrEqual(limit + ((now - T0) * limit) / 60_000 + 1e-6);
    }));
  });

  it("keeps the keys apart, and forgets those that have waited for a minute when they are many", () => {
    const buckets = new Buckets();
    expect(buckets.take("a", 1, T0).admitted).toBe(true);
    for (let i = 0; i < 2_000; i++) expect(buckets.take(`key-${i}`, 1, T0 + 30_000).admitted).toBe(true);
    expect(buckets.take("a", 1, T0 + 30_000).admitted).toBe(false);
    expect(buckets.take("key-7", 1, T0 + 31_000).admitted).toBe(false);
    expect(buckets.take("a", 1, T0 + 61_000).admitted).toBe(true);
  });
});
