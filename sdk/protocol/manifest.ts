/** Owns the manifest: one tree of files as of one moment, the lines it is written in, and the pure check that every reader makes of them. */

import * as z from "zod";
import { Failure } from "./errors.ts";
import { idOf } from "./ids.ts";
import { isPlainEntry } from "./manifest-shape.ts";
import { byteOrder, leadsOutside, pathFault, readName, utf8ToBytes, type ByteString } from "./tree-path.ts";
import { timestamp } from "./values.ts";

/**
 * A manifest is text, compressed with zstd: one header line, then `chunks` lines with a chunk each, then `entries` lines with an entry each,
 * every line JSON and ended by a newline. Entries stand in the order of their paths' bytes with "/" before every other byte, so that a
 * directory stands before what is in it and nothing can be there twice: whoever reads line by line needs to remember one path, not all.
 */
export const MANIFEST_FORMAT = "marionette-manifest/1";
/** Largest chunk before compression, bytes (contract: FastCDC, 512 KiB to 8 MiB). */
export const MAX_CHUNK_BYTES = 8 * 1024 * 1024;
/** Largest chunk as it travels: what zstd may add to bytes that do not compress. */
export const MAX_STORED_CHUNK_BYTES = MAX_CHUNK_BYTES + 64 * 1024;
/** Most ids in one question for the chunks that are missing. */
export const MAX_MISSING_IDS = 4_096;
/** Largest manifest as it travels, and as text. */
export const MAX_STORED_MANIFEST_BYTES = 64 * 1024 * 1024;
export const MAX_MANIFEST_BYTES = 1024 * 1024 * 1024;
/** Longest line: a file of 4 TiB has as many pieces. */
export const MAX_MANIFEST_LINE_CHARS = 16 * 1024 * 1024;
/** Most holes that are kept of one file; more are written as zeros. */
export const MAX_HOLES = 65_536;
/** Most paths that are named in `excluded`; the rest is counted. */
export const MAX_EXCLUDED = 1_000;

export interface ManifestLimits {
  entries: number;
  /** Of all files together, holes included. */
  bytes: number;
  chunks: number;
  /** "keep": symlinks that lead out of the tree are allowed. Only for a tree that nobody outside its sandbox follows. */
  outsideLinks: "refuse" | "keep";
}
export const MANIFEST_LIMITS: ManifestLimits = { entries: 2_000_000, bytes: 4 * 2 ** 40, chunks: 1_000_000, outsideLinks: "refuse" };

const count = z.number().int().min(0);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "not a SHA-256 in hex");
export const chunkId = sha256;
export const manifestKind = z.enum(["workspace", "state"]);
export type ManifestKind = z.infer<typeof manifestKind>;

export const manifestHeader = z.strictObject({
  format: z.literal(MANIFEST_FORMAT),
  manifest_id: idOf("manifest"),
  workspace_id: idOf("workspace"),
  kind: manifestKind,
  /** The manifest that the tree was last equal to. */
  parent: idOf("manifest").nullable(),
  created_at: timestamp,
  entries: count,
  /** Regular files among the entries. */
  files: count,
  /** Bytes of all files together, holes included. */
  bytes: count,
  chunks: count,
  /** Files changed while they were read: the tree may be of more than one moment. */
  torn: z.boolean(),
  /** What was left out, and why: `.marionetteignore`, sockets and devices, unreadable, changed while read. */
  excluded: z.array(z.strictObject({ path: z.string().max(4_096), why: z.string().max(300) })).max(MAX_EXCLUDED),
  /** How many were left out, named above or not. */
  excluded_total: count,
});
export type ManifestHeader = z.infer<typeof manifestHeader>;

/** `id`: SHA-256 of the compressed bytes, hex. `size`: bytes before compression, `stored`: after it. */
export const manifestChunk = z.strictObject({ id: chunkId, size: z.number().int().min(1).max(MAX_CHUNK_BYTES), stored: z.number().int().min(1).max(MAX_STORED_CHUNK_BYTES) });
export type ManifestChunk = z.infer<typeof manifestChunk>;

/** Exactly one of `path` and `path_b64`: the second holds the bytes of a name that is not UTF-8. */
const named = {
  path: z.string().min(1).max(4_096).optional(),
  path_b64: z.base64().min(1).max(5_464).optional(),
  /** Microseconds since 1970; negative before. */
  mtime: z.number().int().min(-(2 ** 53)).max(2 ** 53),
};
/** `[chunk's place in the table, offset in the chunk before compression, length]` */
const piece = z.tuple([count, z.number().int().min(0).max(MAX_CHUNK_BYTES), z.number().int().min(1).max(MAX_CHUNK_BYTES)]);
/** `[offset in the file, length]` */
const hole = z.tuple([count, z.number().int().min(1)]);

export const manifestEntry = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("file"),
    ...named,
    /** Permission bits. Set-user-id and its like are never kept of a file. */
    mode: z.number().int().min(0).max(0o777),
    size: count,
    /** SHA-256 of the whole file, holes read as zeros. */
    hash: sha256,
    /** In the order of the file; between them, the holes. Together they are `size` bytes. */
    pieces: z.array(piece),
    holes: z.array(hole).max(MAX_HOLES).optional(),
    /** It changed each time it was read: what is here is the last reading, and may be of more than one moment. */
    torn: z.literal(true).optional(),
  }),
  z.strictObject({ type: z.literal("directory"), ...named, mode: z.number().int().min(0).max(0o3777) }),
  z.strictObject({ type: z.literal("symlink"), ...named, target: z.string().min(1).max(4_096).optional(), target_b64: z.base64().min(1).max(5_464).optional() }),
]);
export type ManifestEntry = z.infer<typeof manifestEntry>;
export type FileEntry = Extract<ManifestEntry, { type: "file" }>;
export interface Manifest {
  header: ManifestHeader;
  chunks: ManifestChunk[];
  entries: ManifestEntry[];
}

/** The bytes of an entry's path, one character each: what maps are keyed by and files are opened with. */
export function entryPath(entry: Pick<ManifestEntry, "path" | "path_b64">): ByteString {
  return entry.path_b64 === undefined ? utf8ToBytes(entry.path ?? "") : atob(entry.path_b64);
}
export function entryTarget(entry: Extract<ManifestEntry, { type: "symlink" }>): ByteString {
  return entry.target_b64 === undefined ? utf8ToBytes(entry.target ?? "") : atob(entry.target_b64);
}

/** The lines of a manifest, each with its newline. The writer's duty: entries in order, counts right (`checkManifest` says). */
export function* manifestLines({ header, chunks, entries }: Manifest): Generator<string> {
  yield `${JSON.stringify(header)}\n`;
  for (const chunk of chunks) yield `${JSON.stringify(chunk)}\n`;
  for (const entry of entries) yield `${JSON.stringify(entry)}\n`;
}

/**
 * Reads a manifest line by line, remembering the chunk table and one path. Throws `Failure("bad_request")` naming the line and why, at the first
 * thing that a tree cannot hold or that a restore must not do.
 */
export class ManifestCheck {
  header: ManifestHeader | null = null;
  readonly chunks: ManifestChunk[] = [];
  private readonly ids = new Set<string>();
  private readonly limits: ManifestLimits;
  private lines = 0;
  private entries = 0;
  private files = 0;
  private bytes = 0;
  private order = "";
  /** Directories that the last entry stands in (or is), root first. */
  private open: ByteString[] = [];

  constructor(limits: Partial<ManifestLimits> = {}) {
    this.limits = { ...MANIFEST_LIMITS, ...limits };
  }

  /** Takes the next line, without its newline; answers what it holds. */
  line(text: string): { header: ManifestHeader } | { chunk: ManifestChunk } | { entry: ManifestEntry; path: ByteString } {
    this.lines += 1;
    if (text.length > MAX_MANIFEST_LINE_CHARS) this.refuse("the line is too long");
    if (!this.header) return { header: this.takeHeader(text) };
    if (this.chunks.length < this.header.chunks) return { chunk: this.takeChunk(text) };
    if (this.entries < this.header.entries) return this.takeEntry(text);
    return this.refuse("there are more lines than the header says");
  }

  /** To be called behind the last line: throws where the manifest ends too early or its sums are wrong. */
  end(): ManifestHeader {
    const { header } = this;
    if (!header) throw refused("it is empty");
    const missing = header.chunks - this.chunks.length + header.entries - this.entries;
    if (missing > 0) throw refused(`it is truncated: ${missing} lines are missing at its end`);
    if (this.files !== header.files) throw refused(`it holds ${this.files} files, its header says ${header.files}`);
    if (this.bytes !== header.bytes) throw refused(`its files have ${this.bytes} bytes, its header says ${header.bytes}`);
    return header;
  }

  private takeHeader(text: string): ManifestHeader {
    const header = this.parse(manifestHeader, text);
    for (const [what, value, most] of [["entries", header.entries, this.limits.entries], ["chunks", header.chunks, this.limits.chunks], ["bytes", header.bytes, this.limits.bytes]] as const)
      if (value > most) this.refuse(`${value} ${what} are more than the ${most} allowed`, { limit: most, [what]: value });
    this.header = header;
    return header;
  }

  private takeChunk(text: string): ManifestChunk {
    const chunk = this.parse(manifestChunk, text);
    if (this.ids.has(chunk.id)) this.refuse(`chunk ${chunk.id} is there twice`);
    this.ids.add(chunk.id);
    this.chunks.push(chunk);
    return chunk;
  }

  private takeEntry(text: string): { entry: ManifestEntry; path: ByteString } {
    const value = this.json(text);
    const entry = isPlainEntry(value) ? value : this.fit(manifestEntry, value);
    const path = readName(entry.path, entry.path_b64) ?? this.refuse("an entry needs its name once: `path` where it is UTF-8, `path_b64` where it is not");
    const shown = entry.path ?? path;
    const fault = pathFault(path);
    if (fault) this.refuse(`${JSON.stringify(shown)} ${fault}`, { path: shown });
    const order = byteOrder(path);
    if (order <= this.order) this.refuse(`${JSON.stringify(shown)} ${order === this.order ? "is there twice" : "is out of order"}`, { path: shown });
    this.order = order;
    const slash = path.lastIndexOf("/");
    const parent = slash < 0 ? "" : path.slice(0, slash);
    while (this.open.length > 0 && this.open.at(-1) !== parent) this.open.pop();
    if (parent !== "" && this.open.length === 0) this.refuse(`${JSON.stringify(shown)} lies in something that is not a directory of this manifest`, { path: shown });
    if (entry.type === "directory") this.open.push(path);
    else if (entry.type === "file") this.checkFile(entry, shown);
    else this.checkLink(entry, path, shown);
    this.entries += 1;
    return { entry, path };
  }

  private checkFile(entry: FileEntry, path: string): void {
    let sum = 0;
    for (const [index, offset, length] of entry.pieces) {
      const chunk = this.chunks[index];
      if (!chunk || offset + length > chunk.size) this.refuse(`${JSON.stringify(path)} has a piece outside its chunk`, { path });
      sum += length;
    }
    let from = 0;
    for (const [offset, length] of entry.holes ?? []) {
      if (offset < from || offset + length > entry.size) this.refuse(`${JSON.stringify(path)} has a hole outside the file`, { path });
      from = offset + length;
      sum += length;
    }
    if (sum !== entry.size) this.refuse(`${JSON.stringify(path)} has ${sum} bytes in its pieces, but is said to have ${entry.size}`, { path });
    this.files += 1;
    this.bytes += entry.size;
    if (this.bytes > this.limits.bytes) this.refuse(`its files have more than the ${this.limits.bytes} bytes allowed`, { limit: this.limits.bytes });
  }

  private checkLink(entry: Extract<ManifestEntry, { type: "symlink" }>, path: ByteString, shown: string): void {
    const target = readName(entry.target, entry.target_b64) ?? this.refuse(`${JSON.stringify(shown)} needs its target once`, { path: shown });
    if (target.length > 4_095 || target.includes("\0")) this.refuse(`${JSON.stringify(shown)} has a target that no file system takes`, { path: shown });
    if (this.limits.outsideLinks === "refuse" && leadsOutside(path, target)) this.refuse(`${JSON.stringify(shown)} is a symlink that leads outside: ${JSON.stringify(entry.target ?? target)}`, { path: shown });
  }

  private parse<T>(schema: z.ZodType<T>, text: string): T {
    return this.fit(schema, this.json(text));
  }

  private json(text: string): unknown {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      return this.refuse("it is no JSON (truncated?)");
    }
  }

  private fit<T>(schema: z.ZodType<T>, value: unknown): T {
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    return this.refuse(issue?.code === "unrecognized_keys" ? `unknown field ${issue.keys.slice(0, 5).join(", ")}` : `${issue?.path.map(String).join(".") || "line"}: ${issue?.message ?? "not valid"}`);
  }

  private refuse(why: string, details: Record<string, unknown> = {}): never {
    throw refused(`line ${this.lines}: ${why}`, { line: this.lines, ...details });
  }
}

function refused(why: string, details: Record<string, unknown> = {}): Failure {
  return new Failure("bad_request", `the manifest is refused: ${why}`, { details: { manifest: why, ...details } });
}

/** The whole manifest, checked (see `ManifestCheck`). `lines` come without their newlines; the empty text behind the last one is no line. */
export function checkManifest(lines: Iterable<string>, limits: Partial<ManifestLimits> = {}): Manifest {
  const check = new ManifestCheck(limits);
  const entries: ManifestEntry[] = [];
  for (const text of lines) {
    const taken = check.line(text);
    if ("entry" in taken) entries.push(taken.entry);
  }
  return { header: check.end(), chunks: check.chunks, entries };
}

/** The checked manifest of its text. */
export function parseManifest(text: string, limits: Partial<ManifestLimits> = {}): Manifest {
  if (text !== "" && !text.endsWith("\n")) throw refused("it is truncated: its last line has no end");
  return checkManifest(text === "" ? [] : text.slice(0, -1).split("\n"), limits);
}
