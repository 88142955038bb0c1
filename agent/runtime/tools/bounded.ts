/** Owns what of a long output is kept: its head and its tail, with a note of what lies between. */

export const HEAD_CHARS = 12_000;
export const TAIL_CHARS = 18_000;

/** Takes any amount of text and holds a bounded part of it. */
export class HeadTail {
  readonly #headChars: number;
  readonly #tailChars: number;
  #head = "";
  #tail: string[] = [];
  #tailLength = 0;
  #length = 0;

  constructor(headChars: number = HEAD_CHARS, tailChars: number = TAIL_CHARS) {
    this.#headChars = headChars;
    this.#tailChars = tailChars;
  }

  /** Characters that were taken. */
  get length(): number {
    return this.#length;
  }

  push(text: string): void {
    this.#length += text.length;
    const room = this.#headChars - this.#head.length;
    if (room > 0) this.#head += text.slice(0, room);
    const rest = room > 0 ? text.slice(room) : text;
    if (rest === "") return;
    this.#tail.push(rest);
    this.#tailLength += rest.length;
    // Pieces that the tail does not reach any more; joined now and then, so that many small ones cost little.
    while (this.#tailLength - (this.#tail[0]?.length ?? 0) >= this.#tailChars) this.#tailLength -= this.#tail.shift()?.length ?? 0;
    if (this.#tail.length > 1_024) this.#tail = [this.#tail.join("")];
  }

  /** The whole where it was short enough, else head, note and tail, cut at line ends where there are any near. */
  toString(): string {
    const tail = this.#tail.join("");
    if (this.#length <= this.#headChars + this.#tailChars) return whole(this.#head + tail);
    const lastLine = this.#head.lastIndexOf("\n");
    const head = lastLine > this.#headChars / 2 ? this.#head.slice(0, lastLine + 1) : this.#head;
    const kept = tail.slice(-this.#tailChars);
    const firstLine = kept.indexOf("\n");
    const end = firstLine >= 0 && firstLine < this.#tailChars / 2 ? kept.slice(firstLine + 1) : kept;
    return whole(`${head}${head.endsWith("\n") ? "" : "\n"}[… ${this.#length - head.length - end.length} characters left out …]\n${end}`);
  }
}

/** A cut in the middle of a surrogate pair must not make text that no API takes. */
function whole(text: string): string {
  return text.toWellFormed();
}

/** `text`, or as much of it as fits with a note of the rest. */
export function clipped(text: string, chars: number): string {
  return text.length <= chars ? text : `${text.slice(0, chars).toWellFormed()}… [${text.length - chars} more characters]`;
}
