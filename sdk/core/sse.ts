/** Owns the parsing of `text/event-stream`: bytes cut anywhere in, whole records out. Source: WHATWG HTML, "Server-sent events". */

export interface SseRecord {
  id: string | null;
  event: string;
  data: string;
}

/** Parses a stream piece by piece; a record counts only when its blank line has come, so what a cut leaves behind is nothing. */
export class SseParser {
  readonly #decoder = new TextDecoder("utf-8");
  #rest = "";
  #id: string | null = null;
  #event = "";
  #data: string[] = [];

  /** The records that are complete with these bytes. */
  push(bytes: Uint8Array): SseRecord[] {
    const text = this.#rest + this.#decoder.decode(bytes, { stream: true });
    const records: SseRecord[] = [];
    let start = 0;
    for (;;) {
      const end = lineEnd(text, start);
      if (end === null) break;
      const record = this.#line(text.slice(start, end.at));
      if (record) records.push(record);
      start = end.next;
    }
    this.#rest = text.slice(start);
    return records;
  }

  #line(line: string): SseRecord | null {
    if (line === "") {
      const record = { id: this.#id, event: this.#event || "message", data: this.#data.join("\n") };
      const empty = this.#data.length === 0 && this.#id === null && this.#event === "";
      this.#id = null;
      this.#event = "";
      this.#data = [];
      return empty ? null : record;
    }
    if (line.startsWith(":")) return null;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#event = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    return null;
  }
}

/** Where the line that begins at `start` ends; null where its end has not come. A `\r` at the very end may be half of `\r\n`: wait. */
function lineEnd(text: string, start: number): { at: number; next: number } | null {
  const newline = /[\r\n]/g;
  newline.lastIndex = start;
  const at = newline.exec(text)?.index;
  if (at === undefined) return null;
  if (text[at] === "\n") return { at, next: at + 1 };
  if (at + 1 === text.length) return null;
  return { at, next: text[at + 1] === "\n" ? at + 2 : at + 1 };
}
