/** Owns which paths of a tree are kept: `.marionetteignore` files with git's rules, and the globs that name a part of a home. */

import ignore, { type Ignore } from "ignore";
import { bytesToUtf8, type ByteString } from "../protocol/tree-path.ts";

export const IGNORE_FILE = ".marionetteignore";

/** The rules that hold in one directory: its own file's, and those of the directories above. The deepest that says something wins, as with git. */
export class IgnoreRules {
  private readonly above: IgnoreRules | null;
  private readonly base: ByteString;
  private readonly rules: Ignore;

  constructor(above: IgnoreRules | null, base: ByteString, text: string) {
    this.above = above;
    this.base = base === "" ? "" : `${base}/`;
    this.rules = ignore({ ignoreCase: false, allowRelativePaths: true }).add(text);
  }

  ignores(path: ByteString, directory: boolean): boolean {
    const shown = path.slice(this.base.length);
    const said = this.rules.test((bytesToUtf8(shown) ?? shown) + (directory ? "/" : ""));
    if (said.ignored || said.unignored) return said.ignored;
    return this.above?.ignores(path, directory) ?? false;
  }
}

/** Globs over whole paths: `*` and `?` within a name, `**` for any number of names. A directory that fits brings all that is in it. */
export class Include {
  private readonly globs: RegExp[][];
  constructor(globs: readonly string[]) {
    this.globs = globs.map((glob) => glob.split("/").filter((name) => name !== "" && name !== ".").map((name) => (name === "**" ? ANY : segment(name))));
  }

  /** Whether the path is kept itself. */
  fits(path: ByteString): boolean {
    const names = path.split("/").map((name) => bytesToUtf8(name) ?? name);
    return this.globs.some((glob) => fits(glob, names));
  }
  /** Whether something below this directory may be kept. */
  reaches(directory: ByteString): boolean {
    const names = directory.split("/").map((name) => bytesToUtf8(name) ?? name);
    return this.globs.some((glob) => reaches(glob, names));
  }
}

const ANY = /^\*\*$/;

function segment(name: string): RegExp {
  return new RegExp(`^${name.replace(/[\\^$.|+()[\]{}]/g, "\\$&").replaceAll("*", "[^/]*").replaceAll("?", "[^/]")}$`, "s");
}

function fits(glob: readonly RegExp[], names: readonly string[]): boolean {
  const [first, ...rest] = glob;
  // The glob is used up: what it fits is the path or a directory above it.
  if (!first) return true;
  if (first === ANY) return rest.length === 0 ? names.length > 0 : names.some((_, at) => fits(rest, names.slice(at)));
  const [name, ...below] = names;
  return name !== undefined && first.test(name) && fits(rest, below);
}

function reaches(glob: readonly RegExp[], names: readonly string[]): boolean {
  const [first, ...rest] = glob;
  const [name, ...below] = names;
  if (!first || first === ANY || name === undefined) return true;
  return first.test(name) && reaches(rest, below);
}
