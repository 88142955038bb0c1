/** Owns doing one thing after the other where several want the same: a queue for each key. */

export class Turns {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Runs `work` when everything that was asked for under `key` before has ended, well or badly. */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const turn = before.then(work, work);
    const tail = turn.catch(() => {});
    this.#tails.set(key, tail);
    try {
      return await turn;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}
