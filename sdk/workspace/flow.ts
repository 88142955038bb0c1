/** Owns how work is held back: bytes in memory, tasks at once, and turns for the rest of the process. */

import { setImmediate as turn } from "node:timers/promises";

/** Lets others have the event loop when work in one piece has taken it for long enough. */
export class Breath {
  private last = performance.now();
  /** Cheap: to be asked often. */
  due(): boolean {
    return performance.now() - this.last > 15;
  }
  async take(): Promise<void> {
    await turn();
    this.last = performance.now();
  }
}

/** So many units (bytes) may be out at once; one that is larger than all of them may be out alone. */
export class Allowance {
  private readonly most: number;
  private out = 0;
  private readonly waiting: { units: number; go: () => void }[] = [];
  constructor(most: number) {
    this.most = most;
  }
  async take(units: number): Promise<void> {
    if (this.waiting.length === 0 && this.fits(units)) {
      this.out += units;
      return;
    }
    await new Promise<void>((go) => this.waiting.push({ units, go }));
  }
  give(units: number): void {
    this.out -= units;
    for (let next = this.waiting[0]; next && this.fits(next.units); next = this.waiting[0]) {
      this.waiting.shift();
      this.out += next.units;
      next.go();
    }
  }
  private fits(units: number): boolean {
    return this.out === 0 || this.out + units <= this.most;
  }
}

/** Runs what it is given in the background; the first failure is thrown by `check` and `settled`. */
export class Background {
  private readonly running = new Set<Promise<void>>();
  private failure: { error: unknown } | null = null;

  run(work: () => Promise<void>): void {
    const task: Promise<void> = work()
      .catch((error: unknown) => {
        this.failure ??= { error };
      })
      .finally(() => this.running.delete(task));
    this.running.add(task);
  }
  check(): void {
    if (this.failure) throw this.failure.error;
  }
  async settled(): Promise<void> {
    while (this.running.size > 0) await Promise.all(this.running);
    this.check();
  }
}
