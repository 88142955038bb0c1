/** Owns what reaches the terminal: foreign text is made harmless, so that an agent's output cannot drive the terminal it is shown on. */

/** SGR parameters that pass: reset, weight, colours. Conceal, blink and the like could hide or fake text. */
const SGR = /^(?:(?:0|1|2|3|4|22|23|24|39|49|3[0-7]|4[0-7]|9[0-7]|10[0-7]|0?0)|[34]8[;:](?:5[;:]\d{1,3}|2[;:]+\d{1,3}[;:]\d{1,3}[;:]\d{1,3}))$/;

/** Longest escape sequence that may be waited for across two pieces of text. */
const MAX_SEQUENCE = 64;

function allowed(params: string): boolean {
  if (params === "") return true;
  // Parameters of 38 and 48 belong together; everything else stands alone.
  const parts = params.match(/[34]8[;:](?:5[;:]\d{1,3}|2[;:]+\d{1,3}[;:]\d{1,3}[;:]\d{1,3})|[^;]+|(?<=;)(?=;|$)/g) ?? [];
  return parts.every((part) => part === "" || SGR.test(part));
}

/** Characters that reorder or hide others; shown as what they are. */
const INVISIBLE = /[\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

function shown(char: string): string {
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  return `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
}

/**
 * Text with every control character made visible, except newline, tab and, with `colour`, plain SGR colours.
 * `\r\n` becomes `\n`, and so does a lone `\r`: it would overwrite what stands there.
 */
export function neutralise(text: string, colour = false): string {
  // A tag of ESC is a CSI sequence that ends in m; anything else that begins with ESC only loses its ESC.
  const tamed = text.replace(/\r\n?/g, "\n").replace(/\x1b\[([0-9;:]*)m|[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, (match: string, params: string | undefined) => {
    if (params === undefined) return shown(match);
    return colour && allowed(params) ? match : "";
  });
  return tamed.replace(INVISIBLE, shown);
}

/** Like `neutralise`, on one line: newlines and tabs become spaces. */
export function oneLine(text: string): string {
  return neutralise(text.replace(/[\r\n\t]+/g, " ")).trim();
}

/** Neutralises a text that arrives in pieces; an escape sequence that a cut has split is held until it is whole. */
export class Neutraliser {
  readonly #colour: boolean;
  #held = "";
  #coloured = false;
  constructor(colour: boolean) {
    this.#colour = colour;
  }
  push(piece: string): string {
    const text = this.#held + piece;
    const open = /(?:\x1b(?:\[[0-9;:]*)?|\r|[\ud800-\udbff])$/.exec(text);
    const keep = open && text.length - open.index <= MAX_SEQUENCE ? open.index : text.length;
    this.#held = text.slice(keep);
    return this.#tame(text.slice(0, keep));
  }
  /** What was held, and a reset where colours were left on. */
  end(): string {
    const rest = this.#tame(this.#held);
    this.#held = "";
    const reset = this.#coloured ? "\x1b[0m" : "";
    this.#coloured = false;
    return rest + reset;
  }
  #tame(text: string): string {
    const tamed = neutralise(text, this.#colour);
    if (tamed.includes("\x1b[")) this.#coloured = true;
    return tamed;
  }
}

/** True where colours are wanted: a terminal, `NO_COLOR` unset, `TERM` not dumb; `FORCE_COLOR` overrides the terminal. */
export function wantsColour(stream: { isTTY?: boolean }, env: Readonly<Record<string, string | undefined>>): boolean {
  if (env["NO_COLOR"]) return false;
  if (env["FORCE_COLOR"] && env["FORCE_COLOR"] !== "0") return true;
  return stream.isTTY === true && env["TERM"] !== "dumb";
}

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";
const CODES: Readonly<Record<Style, string>> = { bold: "1", dim: "2", red: "31", green: "32", yellow: "33", cyan: "36" };
export type Paint = (style: Style, text: string) => string;

/** Paints text, or leaves it where colours are off. */
export function painter(colour: boolean): Paint {
  return (style, text) => (colour && text !== "" ? `\x1b[${CODES[style]}m${text}\x1b[0m` : text);
}

/** Columns that a text takes: combining marks none, wide characters two. */
export function widthOf(text: string): number {
  let width = 0;
  for (const char of text.replace(/\x1b\[[0-9;:]*m/g, "")) {
    if (/\p{Mn}|\p{Me}|\u200d/u.test(char)) continue;
    width += /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u.test(char) ? 2 : 1;
  }
  return width;
}
