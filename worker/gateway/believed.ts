/** Owns values that an isolate keeps for a while: what it was told, and sessions' own keys that it opened. Pure but for its own state. */

import { openModelKey } from "../../sdk/protocol/index.ts";

/** Longest that something is believed without asking again … */
const BELIEVED_MS = 4_000;
/** … and, while one request asks, by the others. No request waits for another's read: with a client that leaves, it may never end. */
const ASKING_MS = 1_000;
/** How long it holds on while who knows better cannot be asked. */
const HELD_MS = 15 * 60_000;
export const MAX_REMEMBERED = 10_000;

/** Values by key, for seconds; the last one for longer where a new one cannot be had. */
export class Believed<T> {
  readonly #known = new Map<string, { value: T; read: number; until: number }>();

  async find(key: string, read: () => Promise<T>): Promise<T> {
    const known = this.#known.get(key);
    const now = Date.now();
    if (known && known.until > now) return known.value;
    if (known) known.until = now + ASKING_MS;
    try {
      const value = await read();
      if (this.#known.size >= MAX_REMEMBERED) this.#known.delete(this.#known.keys().next().value ?? "");
      this.#known.set(key, { value, read: now, until: now + BELIEVED_MS });
      return value;
    } catch (error) {
      if (!known || known.read + HELD_MS < now) {
        this.#known.delete(key);
        throw error;
      }
      known.until = now + BELIEVED_MS;
      return known.value;
    }
  }
  forget(key: string): void {
    this.#known.delete(key);
  }
}

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
