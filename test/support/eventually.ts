/** Owns waiting for a condition outside of vitest's own `vi.waitFor`: in set-ups and programs. */

import { setTimeout as delay } from "node:timers/promises";

/** Asks until the answer is neither undefined, null nor false; throws with `what` after `timeoutMs`. A failed question counts as no answer yet. */
export async function eventually<T>(what: string, ask: () => Promise<T | undefined | null | false> | T | undefined | null | false, timeoutMs = 60_000): Promise<T> {
  const end = Date.now() + timeoutMs;
  let reason = "";
  while (Date.now() < end) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== null && answer !== false) return answer;
    } catch (error) {
      reason = `: ${error instanceof Error ? error.message : String(error)}`;
    }
    await delay(20);
  }
  throw new Error(`waited ${timeoutMs} ms in vain until ${what}${reason}`);
}
