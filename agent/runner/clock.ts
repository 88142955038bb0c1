/** Owns the time that a run has: it stands still while a person is asked, and while the whole sandbox is frozen. */

/** Longest delay that a timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class RunClock {
  readonly #fire: () => void;
  readonly #stops = new Set<string>();
  #left: number;
  #since: number | null = null;
  #timer: NodeJS.Timeout | undefined;

  /** Calls `fire` once, when `ms` have passed in which nothing stopped it. */
  constructor(ms: number, fire: () => void) {
    this.#left = ms;
    this.#fire = fire;
    this.#run();
  }

  /** Stands still for this reason, or no more; the same reason twice is one. */
  stop(why: string): void {
    this.#stops.add(why);
    clearTimeout(this.#timer);
    if (this.#since !== null) this.#left -= performance.now() - this.#since;
    this.#since = null;
  }

  go(why: string): void {
    if (this.#stops.delete(why) && this.#stops.size === 0) this.#run();
  }

  end(): void {
    this.stop("it has ended");
  }

  #run(): void {
    this.#since = performance.now();
    this.#timer = setTimeout(() => {
      this.end();
      this.#fire();
    }, Math.max(0, Math.min(this.#left, MAX_TIMER_MS)));
  }
}
