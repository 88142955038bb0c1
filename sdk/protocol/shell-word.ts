/** Owns what a shell reader is made of: words, simple commands, and the complaint about what is unclear. */

/** One word after quotes are removed. `text` holds `$…` as written where the value is not known. */
export interface Word {
  text: string;
  /** Its value is only known when it runs. */
  dynamic: boolean;
  /** An unquoted pattern or brace expansion: it may become several words. */
  spread: boolean;
}

export interface SimpleCommand {
  assignments: { name: string; value: Word }[];
  words: Word[];
  redirects: { op: string; target: Word }[];
  /** It reads the output of another command. */
  piped: boolean;
  /** Text of its here-document or here-string, null where that is only known when it runs. */
  here?: string | null;
}

/** What cannot be read for certain. */
export class Unclear extends Error {}

/** The part of the reader that expansions need. */
export interface Cursor {
  readonly source: string;
  at: number;
  readonly char: string;
  startsWith(text: string): boolean;
  /** Reads commands up to a closing bracket. */
  list(end: ")"): void;
  /** Reads a text of its own as commands. */
  nest(text: string): void;
  quotedChar(word: Word): void;
}

export function literal(text: string): Word {
  return { text, dynamic: false, spread: false };
}
