/**
 * Owns a chat stream whose usage the gateway asked for and its client did not: the client sees the stream as if nobody had. Every piece of it passes
 * through this program, which costs about twice what the others do. There is no cheaper way that keeps both promises: the usage comes in a piece of its
 * own without choices, at which clients that did not ask for it fail, and without asking there would be an estimate in place of a count. Only clients
 * of Chat Completions that stream and do not ask come here: Codex speaks Responses, and Marco asks.
 */

const NULL_USAGE = /,\s*"usage"\s*:\s*null(?=\s*[,}])/;
const newline = 0x0a;

/** True for the one event that only tells the usage. */
function tellsUsage(line: string): boolean {
  if (!line.startsWith("data:") || !/"choices"\s*:\s*\[\s*\]/.test(line) || !/"usage"\s*:\s*\{/.test(line)) return false;
  try {
    const event: unknown = JSON.parse(line.slice(5));
    return typeof event === "object" && event !== null && "choices" in event && Array.isArray(event.choices) && event.choices.length === 0 && "usage" in event;
  } catch {
    return false;
  }
}

/** Lets whole lines through as soon as they are there; the pieces of one line come together. */
export class UnaskedUsage {
  #rest: Uint8Array<ArrayBuffer> = new Uint8Array();
  /** The empty line behind a dropped event goes with it. */
  #dropped = false;
  readonly #decoder = new TextDecoder();
  readonly #encoder = new TextEncoder();

  pass(bytes: Uint8Array): Uint8Array | null {
    const end = bytes.lastIndexOf(newline) + 1;
    const ready = concat(this.#rest, bytes.subarray(0, end));
    if (end === 0) {
      this.#rest = concat(this.#rest, bytes);
      return null;
    }
    this.#rest = concat(new Uint8Array(), bytes.subarray(end));
    const out = this.#decoder.decode(ready).split("\n").slice(0, -1).map((line) => this.#line(line)).filter((line) => line !== null);
    return out.length === 0 ? null : this.#encoder.encode(`${out.join("\n")}\n`);
  }
  /** What is left at the end. */
  flush(): Uint8Array | null {
    return this.#rest.byteLength === 0 ? null : this.#rest;
  }

  #line(line: string): string | null {
    if (this.#dropped && line.trim() === "") {
      this.#dropped = false;
      return null;
    }
    this.#dropped = tellsUsage(line);
    return this.#dropped ? null : line.startsWith("data:") ? line.replace(NULL_USAGE, "") : line;
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(a.byteLength + b.byteLength);
  whole.set(a);
  whole.set(b, a.byteLength);
  return whole;
}
