/** Owns values that an isolate keeps for a while: what it was told, and sessions' own keys that it opened. Pure but for its own state. */

import { openModelKey } from "../../sdk/protocol/index.ts";

/** Longest that something is believed without asking again. */
const BELIEVED_MS = 5_000;
/** How long it holds on while who knows better cannot be asked. */
const HELD_MS = 15 * 60_000;
export const MAX_REMEMBERED = 10_000;

/** Values by key, for seconds; the last one for longer where a new one cannot be had. One read at a time a key. */
export class Believed<T> {
  readonly #known = new Map<string, { value: T; read: number; until: number }>();
  readonly #reading = new Map<string, Promise<T>>();

  async find(key: string, read: () => Promise<T>): Promise<T> {
    const known = this.#known.get(key);
    const now = Date.now();
    if (known && known.until > now) return known.value;
    const under = this.#reading.get(key);
    if (under && known) return known.value;
    const reading = read();
    this.#reading.set(key, reading);
    try {
      const value = await reading;
      if (this.#known.size >= MAX_REMEMBERED) this.#known.delete(this.#known.keys().next().value ?? "");
      this.#known.set(key, { value, read: now, until: now + BELIEVED_MS });
      return value;
    } catch (error) {
      if (!known || known.read + HELD_MS < now) throw error;
      known.until = now + BELIEVED_MS;
      return known.value;
    } finally {
      if (this.#reading.get(key) === reading) this.#reading.delete(key);
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
