import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SseParser, type SseRecord } from "./sse.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

function parse(text: string, cuts: readonly number[] = []): SseRecord[] {
  const all = bytes(text);
  const parser = new SseParser();
  const at = [0, ...[...cuts].map((cut) => cut % (all.length + 1)).sort((a, b) => a - b), all.length];
  return at.slice(1).flatMap((end, i) => parser.push(all.subarray(at[i], end)));
}

describe("an event stream", () => {
  it("gives id, event and data of each record", () => {
    expect(parse('id: 1\nevent: log\ndata: {"a":1}\n\n')).toEqual([{ id: "1", event: "log", data: '{"a":1}' }]);
  });
  it("joins lines of data, takes one space away, ignores comments and unknown fields", () => {
    expect(parse(": hi\nretry: 5\ndata:a\ndata:  b\ndata\n\n")).toEqual([{ id: null, event: "message", data: "a\n b\n" }]);
  });
  it("understands all three ends of line", () => {
    expect(parse("data: a\r\n\r\ndata: b\r\rdata: c\n\n").map((r) => r.data)).toEqual(["a", "b", "c"]);
  });
  it("drops what a cut left without its blank line", () => {
    expect(parse("data: a\n\ndata: b\n")).toEqual([{ id: null, event: "message", data: "a" }]);
  });
  it("is the same however its bytes are cut", () => {
    const text = 'id: 1\r\nevent: é\ndata: 😀 text\r\n\r\n: c\n\nid: 2\ndata: x\rdata: y\r\r\nid: 3\ndata: z\n\nid: 4\ndata: !\n\n';
    const whole = parse(text);
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 12 }), (cuts) => {
        expect(parse(text, cuts)).toEqual(whole);
      }),
    );
  });
});
