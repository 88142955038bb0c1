/** Owns terminal output in a transcript: colours and weights of escape sequences, and nothing else that they might do. */

import type { ComponentChildren } from "preact";
import { plain } from "./format.ts";

// One escape sequence: CSI, OSC, or a short one. Only `CSI … m` is heeded; the others are left out.
// oxlint-disable-next-line no-control-regex
const SEQUENCE = /\u001b(?:\[([0-9;:]*)([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[PX^_][^\u001b]*\u001b\\|[ -/]*[0-~])/g;

interface Style {
  colour: number | null;
  bold: boolean;
  dim: boolean;
}
const PLAIN: Style = { colour: null, bold: false, dim: false };

function styled(style: Style, codes: string): Style {
  let next = style;
  const list = (codes || "0").split(/[;:]/).map(Number);
  for (let i = 0; i < list.length; i++) {
    const code = list[i] ?? 0;
    if (code === 0) next = PLAIN;
    else if (code === 1) next = { ...next, bold: true };
    else if (code === 2) next = { ...next, dim: true };
    else if (code === 22) next = { ...next, bold: false, dim: false };
    else if (code >= 30 && code <= 37) next = { ...next, colour: code - 30 };
    else if (code >= 90 && code <= 97) next = { ...next, colour: code - 90 + 8 };
    else if (code === 39) next = { ...next, colour: null };
    else if (code === 38 || code === 48) i += list[i + 1] === 5 ? 2 : 4;
  }
  return next;
}

/** The text with its colours as spans; backspaces and carriage returns have done their work. */
export function Ansi({ text }: { text: string }) {
  const parts: ComponentChildren[] = [];
  let style = PLAIN;
  let from = 0;
  const settled = text.replaceAll(/[^\n]*\r(?!\n)/g, "");
  function push(to: number): void {
    if (to <= from) return;
    const piece = plain(settled.slice(from, to));
    const names = [style.colour !== null && `ansi-${style.colour}`, style.bold && "ansi-bold", style.dim && "ansi-dim"].filter(Boolean).join(" ");
    parts.push(names ? <span class={names}>{piece}</span> : piece);
  }
  for (const match of settled.matchAll(SEQUENCE)) {
    push(match.index);
    from = match.index + match[0].length;
    if (match[2] === "m") style = styled(style, match[1] ?? "");
  }
  push(settled.length);
  return <>{parts}</>;
}
