import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { jsonObject, lineBatches, lines, type Line } from "./lines.ts";

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const seen: T[] = [];
  for await (const one of source) seen.push(one);
  return seen;
}
const of = (chunks: (string | Uint8Array)[], max?: number) => all(lines(Readable.from(chunks.map((chunk) => Buffer.from(chunk))), max));

describe("lines of an agent's output", () => {
  it("are put together from chunks that split them anywhere, also inside a character", async () => {
    const bytes = Buffer.from("früh\r\nspät\n\nlast");
    const chunks = [...bytes].map((byte) => Buffer.from([byte]));
    expect(await of(chunks)).toEqual([{ text: "früh" }, { text: "spät" }, { text: "" }, { text: "last" }]);
  });

  it("come in one batch for one chunk", async () => {
    const batches: Line[][] = await all(lineBatches(Readable.from([Buffer.from("a\nb\nc"), Buffer.from("d\n")])));
    expect(batches.map((batch) => batch.map(({ text }) => text))).toEqual([["a", "b"], ["cd"]]);
  });

  it("are base64 where they are not text", async () => {
    const binary = Buffer.from([0xff, 0xfe, 0x00, 0x41]);
    expect(await of([binary, "\nok\n"])).toEqual([{ text: binary.toString("base64"), binary: true }, { text: "ok" }]);
  });

  it("are cut at the limit and say how much was dropped, and the next line is whole", async () => {
    expect(await of(["x".repeat(10), "y".repeat(15), "\nnext\n"], 16)).toEqual([{ text: "x".repeat(10) + "y".repeat(6), overlong: 9 }, { text: "next" }]);
  });

  it("end quietly where the stream is destroyed", async () => {
    const stream = new Readable({ read() {} });
    stream.push("one\ntw");
    const seen: string[] = [];
    for await (const { text } of lines(stream)) {
      seen.push(text);
      stream.destroy();
    }
    expect(seen[0]).toBe("one");
  });

  it("are objects only where they hold one whole JSON object", () => {
    expect(jsonObject({ text: ' {"a":1}' })).toEqual({ a: 1 });
    for (const text of ["", "[1]", "1", '{"a":', "null", "{}x"]) expect(jsonObject({ text })).toBeUndefined();
    expect(jsonObject({ text: "{}", overlong: 1 })).toBeUndefined();
    expect(jsonObject({ text: "e30=", binary: true })).toBeUndefined();
  });
});
