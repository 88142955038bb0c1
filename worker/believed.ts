/** Owns what an isolate believes for a while without asking again. Pure but for its own state. */

/** Longest that something is believed without asking again … */
const BELIEVED_MS = 4_000;
/** … and, while one request asks, by the others: both together are how long what is over may still hold. No request waits for another's read: with a client that leaves, it may never end. */
const ASKING_MS = 1_000;
/** How long it holds on while who knows better cannot be asked. */
const HELD_MS = 15 * 60_000;
export const MAX_REMEMBERED = 10_000;

export interface BelievedOptions<T> {
  /** Most keys; beyond it the one that was read first is forgotten. */
  most?: number;
  /** Epoch milliseconds. */
  now?: () => number;
  /** True where an error only says that nobody can be asked now; by default each does. */
  passing?: (error: unknown) => boolean;
  /** True where a value holds on while nobody can be asked; by default each does. */
  lasting?: (value: T) => boolean;
}

/** Values by key, for seconds; the last one for longer where a new one cannot be had. */
export class Believed<T> {
  readonly #known = new Map<string, { value: T; read: number; until: number }>();
  readonly #most: number;
  readonly #now: () => number;
  readonly #passing: (error: unknown) => boolean;
  readonly #lasting: (value: T) => boolean;

  constructor({ most = MAX_REMEMBERED, now = () => Date.now(), passing = () => true, lasting = () => true }: BelievedOptions<T> = {}) {
    this.#most = most;
    this.#now = now;
    this.#passing = passing;
    this.#lasting = lasting;
  }

  async find(key: string, read: () => Promise<T>): Promise<T> {
    const known = this.#known.get(key);
    const now = this.#now();
    if (known && known.until > now) return known.value;
    if (known) known.until = now + ASKING_MS;
    try {
      const value = await read();
      this.#known.delete(key);
      if (this.#known.size >= this.#most) this.#known.delete(this.#known.keys().next().value ?? "");
      this.#known.set(key, { value, read: now, until: now + BELIEVED_MS });
      return value;
    } catch (error) {
      if (!known || known.read + HELD_MS < now || !this.#passing(error) || !this.#lasting(known.value)) {
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
