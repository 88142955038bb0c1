/** Owns matching paths against patterns with `*`, `?`, `[a-z]`, `{a,b}` and `**`, in time that grows with their product at most: patterns come from a model. */

const MAX_PATTERN = 500;
const MAX_ALTERNATIVES = 64;

type Token = { kind: "char"; char: string } | { kind: "any" } | { kind: "star" } | { kind: "class"; negated: boolean; ranges: [string, string][] };
type Segment = "**" | Token[];

/** A test of slash-separated relative paths. Throws a TypeError where the pattern is too long or has too many alternatives. */
export function globMatcher(pattern: string): (path: string) => boolean {
  if (pattern.length > MAX_PATTERN) throw new TypeError(`pattern: longer than ${MAX_PATTERN} characters`);
  const alternatives = expand(pattern.replace(/^(\.\/)+/, "")).map((each) => each.split("/").filter((part) => part !== "").map((part): Segment => (part === "**" ? "**" : tokens(part))));
  return (path) => {
    const parts = path.split("/").map((part) => Array.from(part));
    return alternatives.some((segments) => matchPath(segments, parts));
  };
}

/** `a{b,c}d` → `abd`, `acd`; braces may be nested, and what a backslash precedes is none. */
function expand(pattern: string): string[] {
  const done: string[] = [];
  const open = [pattern];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const group = firstGroup(next);
    if (group === undefined) done.push(next);
    else for (const choice of group.choices) open.push(next.slice(0, group.from) + choice + next.slice(group.to));
    if (done.length + open.length > MAX_ALTERNATIVES) throw new TypeError(`pattern: more than ${MAX_ALTERNATIVES} alternatives`);
  }
  return done;
}

/** The braces of more than one choice that close first: those with no such braces in them. */
function firstGroup(pattern: string): { from: number; to: number; choices: string[] } | undefined {
  const open: { from: number; commas: number[] }[] = [];
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern.charAt(at);
    if (char === "\\") at++;
    else if (char === "{") open.push({ from: at, commas: [] });
    else if (char === ",") open.at(-1)?.commas.push(at);
    else if (char === "}") {
      const { from, commas } = open.pop() ?? { from: at, commas: [] };
      const ends = [...commas, at];
      if (commas.length > 0) return { from, to: at + 1, choices: ends.map((end, n) => pattern.slice((ends[n - 1] ?? from) + 1, end)) };
    }
  }
  return undefined;
}

function tokens(text: string): Token[] {
  const found: Token[] = [];
  const chars = Array.from(text);
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at] ?? "";
    const group = char === "[" ? /^\[([!^]?)(\]?(?:\\.|[^\]\\])*)\]/su.exec(chars.slice(at).join("")) : null;
    if (group !== null && group[2] !== "") {
      const ranges = [...(group[2] ?? "").matchAll(/(\\.|[^\\])-(\\.|[^\\])|(\\.|[^\\])/gsu)].map(([, from, to, one]): [string, string] => [bare(from ?? one ?? ""), bare(to ?? one ?? "")]);
      found.push({ kind: "class", negated: group[1] !== "", ranges });
      at += Array.from(group[0]).length - 1;
    } else if (char === "*") {
      if (found.at(-1)?.kind !== "star") found.push({ kind: "star" });
    } else if (char === "?") found.push({ kind: "any" });
    else if (char === "\\" && at + 1 < chars.length) found.push({ kind: "char", char: chars[++at] ?? "" });
    else found.push({ kind: "char", char });
  }
  return found;
}

/** A character without the backslash before it. */
function bare(char: string): string {
  return char.length > 1 && char.startsWith("\\") ? char.slice(1) : char;
}

/** Segments against parts; `**` is any number of parts. The classic two-pointer way, which remembers only the last `**`. */
function matchPath(segments: readonly Segment[], parts: readonly string[][]): boolean {
  return wildcard(segments.length, parts.length, (s) => segments[s] === "**", (s, p) => matchPart(segments[s] as Token[], parts[p] ?? []));
}

function matchPart(pattern: readonly Token[], chars: readonly string[]): boolean {
  return wildcard(pattern.length, chars.length, (s) => pattern[s]?.kind === "star", (s, p) => matchOne(pattern[s], chars[p] ?? ""));
}

function matchOne(token: Token | undefined, char: string): boolean {
  if (token?.kind === "char") return token.char === char;
  if (token?.kind === "class") return token.ranges.some(([from, to]) => codePoint(from) <= codePoint(char) && codePoint(char) <= codePoint(to)) !== token.negated;
  return token?.kind === "any";
}

function codePoint(char: string): number {
  return char.codePointAt(0) ?? 0;
}

function wildcard(patternLength: number, textLength: number, isStar: (s: number) => boolean, matches: (s: number, p: number) => boolean): boolean {
  let s = 0;
  let p = 0;
  let star = -1;
  let mark = 0;
  while (p < textLength) {
    if (s < patternLength && isStar(s)) {
      star = s++;
      mark = p;
    } else if (s < patternLength && matches(s, p)) {
      s++;
      p++;
    } else if (star >= 0) {
      s = star + 1;
      p = ++mark;
    } else return false;
  }
  while (s < patternLength && isStar(s)) s++;
  return s === patternLength;
}
