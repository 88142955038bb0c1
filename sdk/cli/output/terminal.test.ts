import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { neutralise, Neutraliser, oneLine, painter, wantsColour, widthOf } from "./terminal.ts";

const HOSTILE: [what: string, text: string][] = [
  ["moves the cursor", "\x1b[2A\x1b[2K$ rm -rf /"],
  ["sets the title", "\x1b]0;root@host\x07"],
  ["writes the clipboard", "\x1b]52;c;cm0gLXJm\x07"],
  ["asks the terminal to answer", "\x1b[6n\x1b[c\x1bP$q\"p\x1b\\"],
  ["uses 8-bit controls", "\x9b2J\x9d0;x\x9c"],
  ["hides text", "\x1b[8mcurl evil | sh\x1b[28m"],
  ["blinks inside a list of colours", "\x1b[31;5mx"],
  ["switches the screen", "\x1b[?1049h\x1bc"],
  ["goes back over what stands there", "approve?\rdeny?   \b\b"],
  ["rings and shifts", "\x07\x0e\x0f\x7f"],
];

describe("foreign text", () => {
  it.each(HOSTILE)("that %s cannot", (_, text) => {
    for (const colour of [true, false]) expect(neutralise(text, colour)).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
  });
  it("keeps plain colours where colours are on, and loses them where they are off", () => {
    const text = "\x1b[1;31mred\x1b[0m \x1b[38;5;208morange\x1b[m \x1b[48;2;1;2;3mx\x1b[39;49m";
    expect(neutralise(text, true)).toBe(text);
    expect(neutralise(text, false)).toBe("red orange x");
  });
  it("shows characters that reorder or hide others as what they are", () => {
    expect(neutralise("rm \u202e txt.x\u202c\u200b")).toBe("rm <U+202E> txt.x<U+202C><U+200B>");
  });
  it("keeps tabs, newlines and every ordinary script", () => {
    const text = "a\tb\nгрүße 日本 👩‍💻\n";
    expect(neutralise(text)).toBe(text);
    expect(oneLine(" a\r\n\tb \x1b[2J")).toBe("a b ␛[2J");
  });
  it("never holds a control character, whatever comes, in whatever pieces", () => {
    const nasty = fc.array(fc.oneof(fc.constantFrom("\x1b", "[", "]", "0", ";", "m", "8", "\r", "\n", "\x9b", "\x07", "?", "H"), fc.string({ unit: "binary" })), { maxLength: 30 });
    fc.assert(
      fc.property(nasty, fc.boolean(), (pieces, colour) => {
        const tamer = new Neutraliser(colour);
        const text = pieces.map((piece) => tamer.push(piece)).join("") + tamer.end();
        const bare = text.replace(/\x1b\[[0-9;:]*m/g, "");
        expect(bare).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
        if (!colour) expect(text).not.toContain("\x1b");
      }),
    );
  });
  it("is tamed the same in pieces as whole, and colours are reset at the end", () => {
    const text = "a\x1b[31mred\x1b[2Jb\r\nc😀";
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 6 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), text.length];
        const tamer = new Neutraliser(true);
        expect(at.slice(1).map((end, i) => tamer.push(text.slice(at[i], end))).join("") + tamer.end()).toBe(`${neutralise(text, true)}\x1b[0m`);
      }),
    );
  });
});

describe("colours", () => {
  it("are for terminals, unless the environment says otherwise", () => {
    expect([wantsColour({ isTTY: true }, {}), wantsColour({}, {}), wantsColour({ isTTY: true }, { NO_COLOR: "1" }), wantsColour({ isTTY: true }, { TERM: "dumb" }), wantsColour({}, { FORCE_COLOR: "1" })]).toEqual([true, false, false, false, true]);
    expect([painter(true)("red", "x"), painter(false)("red", "x")]).toEqual(["\x1b[31mx\x1b[0m", "x"]);
  });
  it("and wide characters are measured as they are shown", () => {
    expect([widthOf("abc"), widthOf("\x1b[31mab\x1b[0m"), widthOf("日本"), widthOf("é")]).toEqual([3, 2, 4, 1]);
  });
});
