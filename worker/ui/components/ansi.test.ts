import fc from "fast-check";
import type { ComponentChildren, VNode } from "preact";
import { describe, expect, it } from "vitest";
import { Ansi } from "./ansi.tsx";

/** What would be in the page: text as it is, spans with their classes. */
function drawn(text: string): (string | [string, string])[] {
  const { children } = Ansi({ text }).props as { children: ComponentChildren[] };
  return children.map((child) => (typeof child === "string" ? child : [(child as VNode<{ class: string }>).props.class, String((child as VNode<{ children: string }>).props.children)]));
}
const words = (text: string) => drawn(text).map((part) => (typeof part === "string" ? part : part[1])).join("");

describe("terminal output in a transcript", () => {
  it("has its colours and weights", () => {
    expect(drawn("a\u001b[31mred\u001b[1m bold\u001b[0m b\u001b[92mgreen\u001b[39m")).toEqual(["a", ["ansi-1", "red"], ["ansi-1 ansi-bold", " bold"], " b", ["ansi-10", "green"]]);
    expect(drawn("\u001b[38;5;208;1mx\u001b[22;2my")).toEqual([["ansi-bold", "x"], ["ansi-dim", "y"]]);
  });
  it("does nothing else: no links, titles, clipboards, questions or moves", () => {
    expect(words("\u001b]8;;https://evil.example\u0007link\u001b]8;;\u001b\\\u001b]52;c;eA==\u0007\u001b]0;title\u0007\u001b[2J\u001b[5n\u001b[10;10H.")).toBe("link.");
    expect(words("loading 1%\rloading 99%\rdone\nnext\r\nlast")).toBe("done\nnext\r\nlast");
  });
  it("leaves no escape in what is shown, whatever comes", () => {
    fc.assert(fc.property(fc.array(fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("\u001b[", "\u001b]8;;", "\u0007", "31m", "\u001bP", "\u001b\\", "\r", "\u009b"))).map((parts) => parts.join("")), (text) => {
      expect(words(text)).not.toMatch(/[\u001b\u009b\u0007]/);
    }));
  });
});
