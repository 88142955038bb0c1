/** Owns the way from one turn's many writers to its one reader: in order, bounded, and open until it is closed. */

/** Beyond this many items that wait, writers are held. */
const ROOM = 256;

export class Channel<T> {
  #items: T[] = [];
  #closed = false;
  #wake: (() => void) | null = null;
  #room: (() => void)[] = [];

  /** Resolves when there is room for more: await it, and a slow reader slows the writer. Never rejects; after `close`, what is put is dropped. */
  put(item: T): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#items.push(item);
    this.#wake?.();
    if (this.#items.length < ROOM) return Promise.resolve();
    return new Promise((resolve) => this.#room.push(resolve));
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
    this.#release();
  }

  /** All items, until the channel is closed and empty. For one reader. */
  async *read(): AsyncGenerator<T> {
    for (;;) {
      const batch = this.#items;
      this.#items = [];
      this.#release();
      yield* batch;
      if (this.#items.length > 0) continue;
      if (this.#closed) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
  }

  #release(): void {
    for (const go of this.#room.splice(0)) go();
  }
}
