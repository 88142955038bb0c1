/** Owns reading a POSIX or bash command line into the simple commands that it would run. What it is not sure of it refuses. */

import { readBackticks, readDollar } from "./shell-expansion.ts";
import { literal, Unclear, type Cursor, type SimpleCommand, type Word } from "./shell-word.ts";

export type ParsedShell = { ok: true; commands: SimpleCommand[] } | { ok: false; reason: string };

/** Longer lines are refused; no person could judge them. */
const MAX_CHARS = 64 * 1024;
const MAX_DEPTH = 24;
const BLANK = /[ \t]/;
const ENDS_WORD = /[ \t\n;&|<>()]/;
/** At the beginning of a command these only steer; the commands between them are read all the same. */
const STEERING = new Set(["if", "then", "elif", "else", "fi", "while", "until", "do", "done", "!", "{", "}", "time"]);
const REFUSED = new Set(["case", "esac", "select", "function", "coproc"]);

/** The simple commands of a line, those of substitutions and subshells among them, in no promised order. */
export function parseShell(text: string): ParsedShell {
  try {
    if (text.length > MAX_CHARS) throw new Unclear(`the command is longer than ${MAX_CHARS} characters`);
    const parser = new ShellParser(text, 0);
    parser.list(null);
    return { ok: true, commands: parser.commands };
  } catch (error) {
    if (error instanceof Unclear) return { ok: false, reason: error.message };
    if (error instanceof RangeError) return { ok: false, reason: "the command is nested too deeply" };
    throw error;
  }
}

class ShellParser implements Cursor {
  readonly source: string;
  readonly depth: number;
  readonly commands: SimpleCommand[] = [];
  at = 0;
  #hereDocuments: { command: SimpleCommand; end: string; quoted: boolean; tabs: boolean }[] = [];

  constructor(source: string, depth: number) {
    if (depth > MAX_DEPTH) throw new Unclear("the command is nested too deeply");
    this.source = source;
    this.depth = depth;
  }

  get char(): string {
    return this.source[this.at] ?? "";
  }
  startsWith(text: string): boolean {
    return this.source.startsWith(text, this.at);
  }

  /** Commands up to `end` (which is consumed) or the end of the text. */
  list(end: ")" | null): void {
    let piped = false;
    for (;;) {
      this.#blanks();
      if (this.at >= this.source.length) {
        if (end !== null) throw new Unclear("a bracket is not closed");
        if (this.#hereDocuments.length > 0) throw new Unclear("a here-document has no text");
        return;
      }
      if (this.char === ")") {
        if (end === null) throw new Unclear("a bracket too many");
        this.at++;
        return;
      }
      if (this.startsWith(";;")) throw new Unclear("`case` is not looked into");
      if (this.char === "\n") {
        this.#newline();
        piped = false;
      } else if (this.startsWith("&>")) {
        this.#command(piped);
      } else if (this.char === ";" || this.char === "&" || this.char === "|") {
        const operator = ["&&", "||", "|&"].find((each) => this.startsWith(each)) ?? this.char;
        this.at += operator.length;
        piped = operator === "|" || operator === "|&";
        // A pipe goes on behind line ends.
        if (piped) this.#lineEnds();
      } else this.#command(piped);
    }
  }

  #lineEnds(): void {
    for (this.#blanks(); this.char === "\n"; this.#blanks()) this.#newline();
  }

  /** Blanks, joined lines and comments. */
  #blanks(): void {
    for (;;) {
      if (BLANK.test(this.char)) this.at++;
      else if (this.startsWith("\\\n")) this.at += 2;
      else if (this.char === "#") {
        const end = this.source.indexOf("\n", this.at);
        this.at = end === -1 ? this.source.length : end;
      } else return;
    }
  }

  #command(piped: boolean): void {
    if (this.startsWith("((")) return this.#arithmetic();
    if (this.char === "(") {
      this.at++;
      return this.#nested(piped);
    }
    const command: SimpleCommand = { assignments: [], words: [], redirects: [], piped };
    for (;;) {
      this.#blanks();
      if (this.#redirect(command)) continue;
      const from = this.at;
      if (this.char === "" || (ENDS_WORD.test(this.char) && !this.#processSubstitution())) break;
      const word = this.word();
      const plain = this.source.slice(from, this.at);
      if (command.words.length === 0 && command.assignments.length === 0) {
        if (STEERING.has(plain)) {
          // What steers reads no pipe itself, but hands it on to what it steers.
          if (command.redirects.length > 0) this.commands.push(command);
          return this.#command(piped);
        }
        if (REFUSED.has(plain)) throw new Unclear(`\`${plain}\` is not looked into`);
        if (plain === "for") return this.#for();
        if (plain === "[[") return this.#test();
      }
      const assignment = command.words.length === 0 ? /^([A-Za-z_][A-Za-z0-9_]*)(\[[^\]]*\])?\+?=/.exec(plain) : null;
      if (assignment?.[1] !== undefined) {
        if (assignment[2] !== undefined) throw new Unclear("an array's element is assigned");
        command.assignments.push({ name: assignment[1], value: { ...word, text: word.text.slice(word.text.indexOf("=") + 1) } });
      } else command.words.push(word);
      this.#blanksOnly();
      if (this.char === "(") throw new Unclear("a function or an array is defined");
    }
    if (command.words.length + command.assignments.length + command.redirects.length > 0) this.commands.push(command);
    else if (!["", "\n", ";", "&", "|", ")"].includes(this.char)) throw new Unclear(`\`${this.char}\` is unexpected`);
  }

  #blanksOnly(): void {
    while (BLANK.test(this.char)) this.at++;
  }

  #nested(piped: boolean): void {
    const inner = this.commands.length;
    this.list(")");
    // Any of them may read what the subshell is fed.
    if (piped) for (const command of this.commands.slice(inner)) command.piped = true;
  }

  #processSubstitution(): boolean {
    return this.startsWith("<(") || this.startsWith(">(");
  }

  /** `((…))` without anything that could run. */
  #arithmetic(): void {
    const match = /^\(\(([\w\s+\-*/%<>=!&|^~?:,$]*)\)\)/.exec(this.source.slice(this.at));
    if (!match) throw new Unclear("arithmetic or nested brackets are not looked into");
    this.at += match[0].length;
    this.commands.push({ assignments: [], words: [literal("((")], redirects: [], piped: false });
  }

  #for(): void {
    this.#blanks();
    if (this.char === "(") throw new Unclear("an arithmetic `for` is not looked into");
    const name = this.word();
    if (name.dynamic || !/^[A-Za-z_]\w*$/.test(name.text)) throw new Unclear("the variable of `for` is unclear");
    this.#lineEnds();
    const values: Word[] = [];
    if (/^in[ \t\n;]/.test(this.source.slice(this.at, this.at + 3))) {
      this.at += 2;
      for (this.#blanks(); this.char !== "" && (!ENDS_WORD.test(this.char) || this.#processSubstitution()); this.#blanks()) values.push(this.word());
    }
    const value: Word = { text: values.map(({ text }) => text).join(" "), dynamic: true, spread: true };
    this.commands.push({ assignments: [{ name: name.text, value }], words: [], redirects: [], piped: false });
  }

  #test(): void {
    const words: Word[] = [literal("[[")];
    for (;;) {
      this.#blanks();
      if (this.char === "") throw new Unclear("`[[` is not closed");
      if (this.char === "\n") this.at++;
      else if (/^\]\](?=[\s;&|)]|$)/.test(this.source.slice(this.at, this.at + 3))) break;
      else if (ENDS_WORD.test(this.char) && !this.#processSubstitution()) this.at++;
      else words.push(this.word());
    }
    this.at += 2;
    this.commands.push({ assignments: [], words, redirects: [], piped: false });
  }

  #redirect(command: SimpleCommand): boolean {
    const match = /^(\d*)(&>>|&>|<<<|<<-|<<|<>|<&|>>|>\||>&|<(?!\()|>(?!\())/.exec(this.source.slice(this.at, this.at + 16));
    const op = match?.[2];
    if (!match || op === undefined || this.#processSubstitution()) return false;
    this.at += match[0].length;
    this.#blanksOnly();
    const from = this.at;
    if (this.char === "" || (ENDS_WORD.test(this.char) && !this.#processSubstitution())) throw new Unclear("a redirection has no target");
    const target = this.word();
    if (op === "<<" || op === "<<-") {
      const quoted = /['"\\]/.test(this.source.slice(from, this.at));
      if (target.dynamic && !quoted) throw new Unclear("the end of a here-document is unclear");
      this.#hereDocuments.push({ command, end: target.text, quoted, tabs: op === "<<-" });
    } else if (op === "<<<") command.here = target.dynamic ? null : target.text;
    else if (!((op === ">&" || op === "<&") && /^(\d+-?|-)$/.test(target.text) && !target.dynamic)) command.redirects.push({ op, target });
    return true;
  }

  /** A line's end, behind which the here-documents of that line lie. */
  #newline(): void {
    this.at++;
    for (const { command, end, quoted, tabs } of this.#hereDocuments.splice(0)) {
      const lines: string[] = [];
      for (;;) {
        if (this.at >= this.source.length) throw new Unclear("a here-document is not closed");
        const lineEnd = this.source.indexOf("\n", this.at);
        const line = this.source.slice(this.at, lineEnd === -1 ? undefined : lineEnd);
        this.at = lineEnd === -1 ? this.source.length : lineEnd + 1;
        const bare = tabs ? line.replace(/^\t+/, "") : line;
        if (bare === end) break;
        lines.push(bare);
      }
      const text = lines.join("\n");
      command.here = quoted || !this.#expands(text) ? text : null;
    }
  }

  nest(text: string): void {
    const inner = new ShellParser(text, this.depth + 1);
    inner.list(null);
    this.commands.push(...inner.commands);
  }

  /** Whether a text as in double quotes holds expansions; the commands in them are taken along. */
  #expands(text: string): boolean {
    const inner = new ShellParser(text, this.depth + 1);
    const word = literal("");
    while (inner.at < text.length) inner.quotedChar(word);
    this.commands.push(...inner.commands);
    return word.dynamic;
  }

  /** Reads one word; the caller has seen that one begins here. */
  word(): Word {
    const word = literal("");
    let brace = false;
    while (this.at < this.source.length) {
      const char = this.char;
      if (this.#processSubstitution() && word.text === "") {
        this.at += 2;
        this.list(")");
        word.text = "<(…)";
        word.dynamic = true;
      } else if (ENDS_WORD.test(char)) {
        if (char === "(" && /[?*+@!]$/.test(word.text)) throw new Unclear("an extended pattern is not looked into");
        break;
      } else if (char === "\\") {
        if (this.source[this.at + 1] !== "\n") word.text += this.source[this.at + 1] ?? "\\";
        this.at += 2;
      } else if (char === "'") {
        const end = this.source.indexOf("'", this.at + 1);
        if (end === -1) throw new Unclear("a quote is not closed");
        word.text += this.source.slice(this.at + 1, end);
        this.at = end + 1;
      } else if (char === '"') {
        this.at++;
        while (this.char !== '"') {
          if (this.at >= this.source.length) throw new Unclear("a quote is not closed");
          this.quotedChar(word);
        }
        this.at++;
      } else if (char === "$") readDollar(this, word, false);
      else if (char === "`") readBackticks(this, word);
      else {
        if (char === "*" || char === "?" || char === "[") word.spread = true;
        if (char === "{") brace = true;
        if (brace && (char === "," || this.startsWith(".."))) word.spread = true;
        word.text += char;
        this.at++;
      }
    }
    // The test command, not a pattern.
    if (word.text === "[") word.spread = false;
    return word;
  }

  /** One character, escape or expansion inside double quotes. */
  quotedChar(word: Word): void {
    const char = this.char;
    if (char === "\\") {
      const next = this.source[this.at + 1] ?? "";
      if (next !== "\n") word.text += /[$`"\\]/.test(next) ? next : `\\${next}`;
      this.at += 2;
    } else if (char === "$") readDollar(this, word, true);
    else if (char === "`") readBackticks(this, word);
    else {
      word.text += char;
      this.at++;
    }
  }
}
