/** Owns how the worker calls objects: a fresh stub an attempt, one more attempt where the runtime says so, and failures in the table's words. */

import type { Result } from "../durable-objects/index.ts";
import { Failure, unwrap } from "../sdk/protocol/index.ts";

/** What the runtime marks its own failures with; an error thrown by the object's code is `remote` and has neither. */
function marks(error: unknown): { retryable: boolean; overloaded: boolean; remote: boolean } {
  const of = (key: string) => typeof error === "object" && error !== null && key in error && (error as Record<string, unknown>)[key] === true;
  return { retryable: of("retryable"), overloaded: of("overloaded"), remote: of("remote") };
}

/**
 * Calls an object. `attempt` must take its stub anew (a stub is broken after a failure) and must be idempotent, as all of the
 * objects' calls are. Throws `unavailable` where the object cannot be reached or is overloaded; what its code throws goes on up.
 */
export async function reach<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      const { retryable, overloaded, remote } = marks(error);
      if (error instanceof Failure || (remote && !retryable && !overloaded)) throw error;
      if (retryable && !overloaded && tries < 3) continue;
      if (!retryable && !overloaded) throw error;
      throw new Failure("unavailable", overloaded ? "This part has more to do than it can; try again shortly" : "This part is restarting; try again shortly", { details: { retry_after_seconds: overloaded ? 2 : 1 } });
    }
  }
}

/** `reach`, and the value of the result that came back. */
export async function call<T>(attempt: () => Promise<Result<T>>): Promise<T> {
  return unwrap(await reach(attempt));
}
