/** Owns the type for values that must never be printed: a secret shows as `[secret]` in logs, JSON and inspection. */

const SHOWN = "[secret]";

/** A value that only `reveal()` gives out. A structured clone of it is empty, so it cannot cross an RPC by accident. */
export class Secret {
  readonly #value: string;
  constructor(value: string) {
    this.#value = value;
  }
  /** The value itself; call it only where the value is used. */
  reveal(): string {
    return this.#value;
  }
  toString(): string {
    return SHOWN;
  }
  toJSON(): string {
    return SHOWN;
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return SHOWN;
  }
}
