/**
 * Owns files of a sandbox that is reached by running programs in it: each operation is one script for a POSIX shell with GNU coreutils and findutils.
 * A link swapped between a script's look and its deed leads at most where the agent's own commands can go as well: what guards the machine is the sandbox.
 */

import { posix } from "node:path";
import { MAX_ENTRIES, MAX_READ_BYTES, MAX_WRITE_BYTES, WorkspaceError, type FileBytes, type FileStat, type ReadOptions, type WorkspaceErrorCode, type WriteOptions } from "./contracts.ts";
import { checkRange, leaves, notFound, sorted, tooLarge } from "./host-files.ts";
import type { Place } from "./paths.ts";
import { Turns } from "./turns.ts";

/** Runs a program to its end; `limit` bounds its output in bytes. */
export type RunProgram = (argv: string[], options: { stdin?: Uint8Array; limit: number; signal?: AbortSignal | undefined }) => Promise<{ code: number | null; stdout: Buffer; stderr: Buffer }>;

const CODES: Readonly<Record<number, WorkspaceErrorCode>> = { 41: "not_found", 42: "outside", 43: "not_a_file", 44: "not_a_directory", 45: "not_empty", 46: "too_large", 47: "changed", 48: "unavailable", 49: "invalid" };
const SMALL = 64 * 1024;
/** So many files of at most so many bytes are read together. */
const MANY = 32;
const MANY_BYTES = 256 * 1024;
const LISTING_BYTES = MAX_ENTRIES * 400;

/** $1 the area's directory, $2 the path below it; leaves the real path in `real`, wherever its last parts are not there yet. */
const RESOLVE = `nl='
'
base=$(cd -P -- "$1" 2>/dev/null && pwd -P) || exit 41
inside() { case "$1" in "$base" | "$base"/*) ;; *) exit 42 ;; esac; }
resolve() { real=$(realpath -m -- "$1" 2>/dev/null && printf x) || exit 41; real=\${real%x}; real=\${real%"$nl"}; inside "$real"; }
path=$base\${2:+/$2}
version() { stat -c '%i-%s-%.9Y' -- "$1"; }
`;
/** $3 offset, $4 length or -, $5 the most. Prints size and version in a line, then the bytes. */
const READ = `${RESOLVE}resolve "$path"
[ -e "$real" ] || exit 41
[ -f "$real" ] || exit 43
info=$(stat -c '%s %i-%s-%.9Y' -- "$real") || exit 48
size=\${info%% *}
length=$4
if [ "$length" = - ]; then length=$((size - $3)); [ "$length" -le "$5" ] || { printf %s "$size" >&2; exit 46; }; fi
[ "$length" -gt 0 ] || length=0
printf '%s\\n' "$info"
[ "$length" -eq 0 ] || tail -c +$(($3 + 1)) -- "$real" | head -c "$length"
`;
/** $3 bytes, $4 the version that it must have, `-` for none, `?` for any; the contents on stdin. */
const WRITE = `${RESOLVE}if [ -L "$path" ] && [ ! -e "$path" ]; then exit 42; fi
resolve "$path"
[ "$real" != "$base" ] || exit 49
dir=\${real%/*}
mkdir -p -- "$dir" 2>/dev/null || exit 44
final=$real; resolve "$dir"; dir=$real; real=$final
now=-
if [ -e "$real" ]; then [ -f "$real" ] || exit 43; now=$(version "$real"); fi
[ "$4" = '?' ] || [ "$4" = "$now" ] || { printf %s "$now" >&2; exit 47; }
partial="$dir/.marco-$$-$3"
head -c "$3" > "$partial" && [ "$(stat -c %s -- "$partial")" = "$3" ] || { rm -f -- "$partial"; exit 48; }
[ "$now" = - ] || chmod --reference="$real" -- "$partial"
mv -T -- "$partial" "$real" || { rm -f -- "$partial"; exit 48; }
printf '%s %s\\n' "$now" "$(version "$real")"
`;
/**
 * $1 the bytes of each file, then base and path below it of each. Prints a letter for each (`f` read, `m` not there, `-` to be read by itself: what a link
 * leads to, what is no file), then size and version of each that is read in a line, then their bytes, one after the other. Without a program for each file.
 */
const READ_MANY = `length=$1; shift
count=$(($# / 2)); marks=
while [ "$count" -gt 0 ]; do
  count=$((count - 1)); base=$1; path=$1/$2; shift 2
  dir=\${path%/*}; name=\${path##*/}; mark=-
  if cd -P -- "$base" 2>/dev/null; then
    base=$PWD
    if cd -P -- "$dir" 2>/dev/null; then
      case "$PWD" in
        "$base" | "$base"/*)
          if [ -L "./$name" ]; then :; elif [ -f "./$name" ]; then mark=f; set -- "$@" "$PWD/$name"; elif [ ! -e "./$name" ]; then mark=m; fi ;;
      esac
    fi
  fi
  marks=$marks$mark
done
printf '%s\\n' "$marks"
[ $# -gt 0 ] || exit 0
cd /
info=$(stat -c '%s %i-%s-%.9Y' -- "$@") || exit 48
printf '%s\\n' "$info"
head -q -c "$length" -- "$@" || exit 48
[ "$info" = "$(stat -c '%s %i-%s-%.9Y' -- "$@")" ] || exit 47
`;
const LIST = `${RESOLVE}resolve "$path"
[ -e "$real" ] || exit 41
[ -d "$real" ] || exit 44
find "$real" -mindepth 1 -maxdepth 1 -printf '%y %s %T@ %f\\0'
`;
const STAT = `${RESOLVE}resolve "$path"
[ -e "$real" ] || exit 41
find "$real" -maxdepth 0 -printf '%y %s %T@ x\\0'
`;
/** $3 the name in it, $4 `r` where all that is in it goes too. */
const DELETE = `${RESOLVE}resolve "$path"
target=$real/$3
[ -e "$target" ] || [ -L "$target" ] || exit 41
if [ -d "$target" ] && [ ! -L "$target" ]; then
  if [ "$4" = r ]; then rm -rf --one-file-system -- "$target" || exit 48; else rmdir -- "$target" 2>/dev/null || exit 45; fi
else rm -f -- "$target" || exit 48; fi
`;

export class ShellFiles {
  readonly #run: RunProgram;
  readonly #base: (place: Place) => string;
  readonly #turns = new Turns();
  /** Small reads that came while another was under way: they go together. */
  #waiting: { place: Place; length: number; found: (file: FileBytes | null | Promise<FileBytes>) => void }[] = [];
  #reading = false;

  /** `base` gives the directory of a place's area, as programs see it. */
  constructor(run: RunProgram, base: (place: Place) => string) {
    this.#run = run;
    this.#base = base;
  }

  async read(place: Place, { offset = 0, length, signal }: ReadOptions = {}): Promise<FileBytes> {
    checkRange(offset, length);
    if (offset === 0 && length !== undefined && length <= MANY_BYTES && signal === undefined) return this.#gathered(place, length);
    return this.#readOne(place, { offset, length, signal });
  }

  /** Read with all others that are wanted now: an agent that begins reads dozens of small files, and each script takes some processes. */
  async #gathered(place: Place, length: number): Promise<FileBytes> {
    const found = new Promise<FileBytes | null>((resolve) => this.#waiting.push({ place, length, found: resolve }));
    if (!this.#reading) void this.#readAll();
    const file = await found;
    if (file === null) throw notFound(place);
    return file;
  }

  async #readAll(): Promise<void> {
    this.#reading = true;
    while (this.#waiting.length > 0) {
      // Whoever wants several has asked for all of them by then.
      await new Promise((resolve) => setImmediate(resolve));
      const batch = this.#waiting.splice(0, MANY);
      const files = batch.length === 1 ? null : await this.#readMany(batch).catch(() => null);
      for (const [i, { place, length, found }] of batch.entries()) {
        const file = files?.[i];
        found(file === undefined ? this.#readOne(place, { offset: 0, length }) : file);
      }
    }
    this.#reading = false;
  }

  /** In order: the file, null where there is none, undefined where it must be read by itself. Throws where they changed meanwhile. */
  async #readMany(batch: readonly { place: Place; length: number }[]): Promise<(FileBytes | null | undefined)[]> {
    const length = Math.max(...batch.map((one) => one.length));
    const args = batch.flatMap(({ place }) => [this.#base(place), place.relative]);
    const { code, stdout } = await this.#run(["sh", "-c", READ_MANY, "marco-files", String(length), ...args], { limit: MANY * MANY_BYTES + SMALL });
    if (code !== 0) throw new WorkspaceError("changed", "the files cannot be read together");
    let at = 0;
    const line = () => {
      const end = stdout.indexOf("\n", at);
      const text = stdout.toString("latin1", at, end);
      at = end + 1;
      return text;
    };
    const marks = line();
    const infos = Array.from(marks, (mark) => (mark === "f" ? line().split(" ") : null));
    return batch.map(({ place, length: own }, i) => {
      const info = infos[i];
      if (!info) return marks[i] === "m" ? null : undefined;
      const [size = "0", version = ""] = info;
      const whole = stdout.subarray(at, (at += Math.min(Number(size), length)));
      return { path: place.shown, size: Number(size), offset: 0, bytes: whole.subarray(0, own), version };
    });
  }

  async #readOne(place: Place, { offset = 0, length, signal }: ReadOptions): Promise<FileBytes> {
    const { stdout } = await this.#script(READ, place, [String(offset), length === undefined ? "-" : String(length), String(MAX_READ_BYTES)], { limit: MAX_READ_BYTES + SMALL, signal });
    const end = stdout.indexOf("\n");
    const [size = "0", version = ""] = stdout.toString("latin1", 0, end).split(" ");
    return { path: place.shown, size: Number(size), offset, bytes: stdout.subarray(end + 1), version };
  }

  async write(place: Place, contents: Uint8Array, { version, signal }: WriteOptions = {}): Promise<{ created: boolean; version: string }> {
    if (contents.byteLength > MAX_WRITE_BYTES) throw new WorkspaceError("too_large", `${place.shown}: ${contents.byteLength} bytes are more than the ${MAX_WRITE_BYTES} of one write`);
    const wanted = version === undefined ? "?" : (version ?? "-");
    const { stdout } = await this.#turns.run(place.relative, () => this.#script(WRITE, place, [String(contents.byteLength), wanted], { stdin: contents, limit: SMALL, signal }));
    const [before, after = ""] = stdout.toString().trim().split(" ");
    return { created: before === "-", version: after };
  }

  async list(place: Place, signal?: AbortSignal): Promise<FileStat[]> {
    const { stdout } = await this.#script(LIST, place, [], { limit: LISTING_BYTES, signal });
    const entries = records(stdout).map(({ name, ...rest }) => ({ ...rest, name, path: posix.join(place.shown, name) }));
    if (entries.length > MAX_ENTRIES) throw new WorkspaceError("too_large", `${place.shown} has more than ${MAX_ENTRIES} entries; list its parts with exec`);
    return sorted(entries);
  }

  async stat(place: Place, signal?: AbortSignal): Promise<FileStat | null> {
    try {
      const { stdout } = await this.#script(STAT, place, [], { limit: SMALL, signal });
      const [found] = records(stdout);
      return found === undefined ? null : { ...found, path: place.shown, name: posix.basename(place.shown) };
    } catch (error) {
      if (error instanceof WorkspaceError && error.code === "not_found") return null;
      throw error;
    }
  }

  async delete(place: Place, recursive = false, signal?: AbortSignal): Promise<void> {
    const directory = posix.dirname(place.relative);
    const parent = { ...place, relative: directory === "." ? "" : directory };
    await this.#script(DELETE, place, [posix.basename(place.relative), recursive ? "r" : ""], { limit: SMALL, signal }, parent);
  }

  async #script(script: string, place: Place, args: string[], options: Parameters<RunProgram>[1], at: Place = place): Promise<{ stdout: Buffer }> {
    const result = await this.#run(["sh", "-c", script, "marco-files", this.#base(place), at.relative, ...args], options);
    if (result.code === 0) return result;
    options.signal?.throwIfAborted();
    throw failureOf(result.code, place, result.stderr.toString().trim());
  }
}

function failureOf(exit: number | null, place: Place, said: string): WorkspaceError {
  const code = CODES[exit ?? 0];
  switch (code) {
    case "not_found":
      return notFound(place);
    case "outside":
      return leaves(place);
    case "too_large":
      return tooLarge(place, Number(said));
    case "not_a_file":
      return new WorkspaceError(code, `${place.shown} is a directory, or not a file`);
    case "not_a_directory":
      return new WorkspaceError(code, `${place.shown}, or something on its way, is not a directory`);
    case "not_empty":
      return new WorkspaceError(code, `${place.shown} is a directory that is not empty`);
    case "changed":
      return new WorkspaceError(code, `${place.shown} was changed by someone else since it was read, made or deleted`);
    default:
      return new WorkspaceError(code ?? "unavailable", `${place.shown}: the sandbox could not do it (${said.slice(0, 300) || `code ${exit ?? "unknown"}`}); its disk may be full, or its image may lack GNU coreutils`);
  }
}

const KINDS: Readonly<Record<string, FileStat["kind"]>> = { f: "file", d: "directory", l: "symlink" };

function records(stdout: Buffer): Omit<FileStat, "path">[] {
  return stdout.toString().split("\0").filter(Boolean).map((record) => {
    const [, type = "", size = "0", seconds = "0", name = ""] = /^(\S) (\d+) ([\d.]+) ([^]*)$/.exec(record) ?? [];
    return { name, kind: KINDS[type] ?? "other", size: Number(size), modified_at: new Date(Number(seconds) * 1_000) };
  });
}
