/**
 * Owns a chat stream whose usage the gateway asked for and its client did not: the client sees the stream as if nobody had. Every piece of it passes
 * through this program, which costs about twice what the others do. There is no cheaper way that keeps both promises: the usage comes in a piece of its
 * own without choices, at which clients that did not ask for it fail, and without asking there would be an estimate in place of a count. Only clients
 * of Chat Completions that stream and do not ask come here: Codex speaks Responses, and Marco asks.
 */

const NULL_USAGE = /,\s*"usage"\s*:\s*null(?=\s*[,}])/;
const newline = 0x0a;
/** No line that tells the usage is as long, bytes: a longer one passes as it comes. */
const MAX_LINE = 256 * 1024;

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

/** Lets whole lines through as soon as they are there; the pieces of one line come together, unless it is too long to be looked into. */
export class UnaskedUsage {
  #rest: Uint8Array[] = [];
  #held = 0;
  /** The line that passes now was too long to be held. */
  #overlong = false;
  /** The empty line behind a dropped event goes with it. */
  #dropped = false;
  readonly #decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });
  readonly #encoder = new TextEncoder();

  pass(bytes: Uint8Array): Uint8Array | null {
    const end = bytes.lastIndexOf(newline) + 1;
    if (this.#overlong) {
      const first = bytes.indexOf(newline) + 1;
      if (first === 0) return bytes;
      this.#overlong = false;
      const rest = this.pass(bytes.subarray(first));
      return concat([bytes.subarray(0, first), ...(rest ? [rest] : [])]);
    }
    const ready = end === 0 ? null : this.#lines(concat([...this.#rest, bytes.subarray(0, end)]));
    if (end > 0) [this.#rest, this.#held] = [[], 0];
    // A copy: the caller may use its buffer again.
    this.#rest.push(bytes.slice(end));
    this.#held += bytes.byteLength - end;
    if (this.#held <= MAX_LINE) return ready;
    this.#overlong = true;
    const held = concat([...(ready ? [ready] : []), ...this.#rest]);
    [this.#rest, this.#held] = [[], 0];
    return held;
  }
  /** What is left at the end. */
  flush(): Uint8Array | null {
    return this.#held === 0 ? null : concat(this.#rest);
  }

  #lines(bytes: Uint8Array): Uint8Array | null {
    const out = this.#decoder.decode(bytes).split("\n").slice(0, -1).map((line) => this.#line(line)).filter((line) => line !== null);
    return out.length === 0 ? null : this.#encoder.encode(`${out.join("\n")}\n`);
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

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}
