/** Owns the shell's expansions: what stands behind a dollar sign or in backticks, with the commands inside taken along. */

import { literal, Unclear, type Cursor, type Word } from "./shell-word.ts";

const ESCAPES: Readonly<Record<string, string>> = { a: "\x07", b: "\b", e: "\x1b", E: "\x1b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v", "\\": "\\", "'": "'", '"': '"', "?": "?" };

/** Reads the expansion that begins at a dollar sign into `word`. */
export function readDollar(parser: Cursor, word: Word, quoted: boolean): void {
  const rest = parser.source.slice(parser.at, parser.at + 3);
  if (rest.startsWith("$((")) return readArithmetic(parser, word);
  if (rest.startsWith("$(")) {
    parser.at += 2;
    parser.list(")");
    word.text += "$(…)";
    word.dynamic = true;
  } else if (rest.startsWith("${")) readBraces(parser, word);
  else if (!quoted && rest.startsWith("$'")) readAnsi(parser, word);
  else if (!quoted && rest.startsWith('$"')) parser.at++;
  else {
    const name = /^\$([A-Za-z_]\w*|[0-9@*#?$!-])/.exec(parser.source.slice(parser.at, parser.at + 256))?.[0];
    if (name === undefined) {
      if (rest.startsWith("$[")) throw new Unclear("old arithmetic is not looked into");
      word.text += "$";
      parser.at++;
      return;
    }
    word.text += name;
    word.dynamic = true;
    parser.at += name.length;
  }
}

/** Reads a command in backticks, whose own escapes are taken off first. */
export function readBackticks(parser: Cursor, word: Word): void {
  let inner = "";
  for (parser.at++; parser.char !== "`"; parser.at++) {
    if (parser.at >= parser.source.length) throw new Unclear("a backtick is not closed");
    if (parser.char === "\\" && /[$`\\]/.test(parser.source[parser.at + 1] ?? "")) parser.at++;
    inner += parser.char;
  }
  parser.at++;
  parser.nest(inner);
  word.text += "$(…)";
  word.dynamic = true;
}

/** `$((…))` of names, numbers and operators: brackets of any kind may run commands. */
function readArithmetic(parser: Cursor, word: Word): void {
  const match = /^\$\(\([\w\s+\-*/%<>=!&|^~?:,$]*\)\)/.exec(parser.source.slice(parser.at, parser.at + 1_024));
  if (!match) throw new Unclear("this arithmetic is not looked into");
  parser.at += match[0].length;
  word.text += "$((…))";
  word.dynamic = true;
}

/** `${name}` with its plain operators; indirection, prompts and computed subscripts may run commands. */
function readBraces(parser: Cursor, word: Word): void {
  const head = /^\$\{(#?[A-Za-z_]\w*|#?[0-9@*?$-]|#)(\[(?:[@*]|\w+)\])?/.exec(parser.source.slice(parser.at, parser.at + 256))?.[0];
  if (head === undefined) throw new Unclear("an indirect expansion is not looked into");
  parser.at += head.length;
  if (parser.char === "@") throw new Unclear("a transforming expansion is not looked into");
  const inner = literal("");
  while (parser.char !== "}") {
    if (parser.at >= parser.source.length) throw new Unclear("`${` is not closed");
    if (parser.char === "'" || parser.char === '"') throw new Unclear("quotes inside `${` are not looked into");
    if (parser.char === "=" || parser.startsWith(":=")) throw new Unclear("an expansion assigns");
    if (parser.char === ":" && /[^-+?=\d ]/.test(parser.source[parser.at + 1] ?? "")) throw new Unclear("a computed part of a value is not looked into");
    parser.quotedChar(inner);
  }
  parser.at++;
  word.text += `${head}${inner.text}}`;
  word.dynamic = true;
}

/** `$'…'` with its escapes resolved. */
function readAnsi(parser: Cursor, word: Word): void {
  parser.at += 2;
  while (parser.char !== "'") {
    if (parser.at >= parser.source.length) throw new Unclear("a quote is not closed");
    if (parser.char !== "\\") {
      word.text += parser.char;
      parser.at++;
      continue;
    }
    const escape = /^\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|c(.)|([\s\S]))/.exec(parser.source.slice(parser.at, parser.at + 12));
    if (!escape) throw new Unclear("an escape is not closed");
    const [all, hex, short, long, octal, control, plain] = escape;
    const code = hex ?? short ?? long;
    if (code !== undefined) word.text += codePoint(Number.parseInt(code, 16));
    else if (octal !== undefined) word.text += codePoint(Number.parseInt(octal, 8) & 0xff);
    else if (control !== undefined) word.text += codePoint(control.charCodeAt(0) & 0x1f);
    else word.text += ESCAPES[plain ?? ""] ?? `\\${plain ?? ""}`;
    parser.at += all.length;
  }
  parser.at++;
}

function codePoint(code: number): string {
  // NUL ends the string for bash; nothing honest is written so.
  if (code === 0 || code > 0x10ffff) throw new Unclear("an escape hides a part of the word");
  return String.fromCodePoint(code);
}
