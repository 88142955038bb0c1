/** Owns chance that can be had again: a seeded generator for tests that pick at random and print their seed. */

export interface Chance {
  readonly seed: number;
  /** A whole number in 0 … n - 1. */
  below: (n: number) => number;
  /** One of them; throws where there is none. */
  pick: <T>(from: readonly T[]) => T;
  shuffled: <T>(from: readonly T[]) => T[];
}

/** Starts from `TEST_SEED` where it is set, else from the clock. */
export function chance(seed = Number(process.env["TEST_SEED"] ?? Date.now() % 2 ** 31)): Chance {
  let state = seed >>> 0;
  // mulberry32
  function below(n: number): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  }
  return {
    seed,
    below,
    pick(from) {
      const one = from[below(from.length)];
      if (one === undefined) throw new Error("nothing to pick from");
      return one;
    },
    shuffled(from) {
      const rest = [...from];
      const out: typeof rest = [];
      while (rest.length > 0) out.push(...rest.splice(below(rest.length), 1));
      return out;
    },
  };
}
