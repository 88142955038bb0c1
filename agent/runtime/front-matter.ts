/** Owns front matter: the YAML between `---` lines at the head of a Markdown file. */

import { parse } from "yaml";

/** Characters of front matter, at most. */
const MAX_CHARS = 16_384;

export interface Document {
  /** Empty where there is no front matter. */
  fields: Readonly<Record<string, unknown>>;
  body: string;
}

/** The document, or in words what is wrong with its front matter. */
export function readDocument(text: string): Document | { wrong: string } {
  const whole = text.replace(/^\uFEFF/, "").replaceAll("\r\n", "\n");
  if (!/^---[ \t]*\n/.test(whole)) return { fields: {}, body: whole };
  const from = whole.indexOf("\n") + 1;
  const close = /^---[ \t]*$/m.exec(whole.slice(from));
  if (!close) return { wrong: "the front matter is opened with --- and never closed" };
  const source = whole.slice(from, from + close.index);
  if (source.length > MAX_CHARS) return { wrong: `the front matter is longer than ${MAX_CHARS} characters` };
  try {
    const value: unknown = parse(source, { maxAliasCount: 0, prettyErrors: true, logLevel: "error" });
    if (value !== null && (typeof value !== "object" || Array.isArray(value))) return { wrong: "the front matter is no list of fields" };
    return { fields: (value ?? {}) as Record<string, unknown>, body: whole.slice(from + close.index + close[0].length).replace(/^\n+/, "") };
  } catch (error) {
    return { wrong: `the front matter is not valid YAML: ${(error instanceof Error ? error.message : String(error)).split("\n", 1)[0] ?? ""}` };
  }
}
