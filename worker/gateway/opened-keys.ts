/** Owns sessions' own keys as an isolate keeps them opened for a while. */

import { openModelKey } from "../../sdk/protocol/index.ts";
import { MAX_REMEMBERED } from "../believed.ts";

/** How long a session's own key stays in the open after it was used: an agent's calls come one after another. */
const KEY_MS = 30_000;

/** Sessions' own keys as they were opened, for seconds; each is found only by who has both what was sealed and the token that opens it. */
export class OpenedKeys {
  readonly #keys = new Map<string, { key: string; until: number }>();

  async find(token: string, sessionId: string, sealed: string): Promise<string> {
    const name = `${sessionId}/${token}/${sealed}`;
    const key = this.#keys.get(name)?.key ?? (await openModelKey(token, sessionId, sealed));
    const now = Date.now();
    this.#keys.delete(name);
    this.#keys.set(name, { key, until: now + KEY_MS });
    // In order of their last use.
    for (const [other, { until }] of this.#keys) {
      if (until > now && this.#keys.size <= MAX_REMEMBERED) break;
      this.#keys.delete(other);
    }
    return key;
  }
}
