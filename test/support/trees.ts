/** Owns trees for tests: made at random, changed at random, and read back as a picture that two trees can be compared by. */

import { chmodSync, closeSync, ftruncateSync, linkSync, lstatSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync, writeSync } from "node:fs";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { newId } from "../../sdk/protocol/ids.ts";
import type { ByteString } from "../../sdk/protocol/tree-path.ts";
import { systemPath } from "../../sdk/workspace/system-path.ts";

export const ids = (workspace_id = newId("workspace", Date.now())) => ({ manifest_id: newId("manifest", Date.now()), workspace_id });

/** Each entry of a tree by its path: what of it must come back. */
export function picture(root: string, skip: (path: ByteString) => boolean = () => false): Map<ByteString, string> {
  const seen = new Map<ByteString, string>();
  const walk = (at: ByteString) => {
    for (const name of readdirSync(systemPath(root, at), { encoding: "latin1" }).sort()) {
      const path = at === "" ? name : `${at}/${name}`;
      if (skip(path)) continue;
      const stat = lstatSync(systemPath(root, path), { bigint: true });
      const time = String(stat.mtimeNs / 1000n);
      const mode = Number(stat.mode & 0o7777n).toString(8);
      if (stat.isDirectory()) {
        seen.set(path, `directory ${mode} ${time}`);
        walk(path);
      } else if (stat.isSymbolicLink()) seen.set(path, `symlink ${time} ${readlinkSync(systemPath(root, path), { encoding: "latin1" })}`);
      else if (stat.isFile()) seen.set(path, `file ${mode} ${time} ${stat.size} ${createHash("sha256").update(readFileSync(systemPath(root, path))).digest("hex")}`);
    }
  };
  walk("");
  return seen;
}

export type Step =
  | { do: "write"; path: ByteString; seed: number; size: number; mode: number }
  | { do: "sparse"; path: ByteString; at: number }
  | { do: "directory"; path: ByteString; mode: number }
  | { do: "symlink"; path: ByteString; target: string }
  | { do: "rename"; path: ByteString; to: ByteString }
  | { do: "hard link"; path: ByteString; to: ByteString }
  | { do: "touch"; path: ByteString; time: number }
  | { do: "remove"; path: ByteString };

const name = fc.oneof({ weight: 6, arbitrary: fc.constantFrom("a", "b", "c", "a.b", "a-b") }, fc.constantFrom("ü", "日本", "\u{1f600}", " ", "new\nline", "-rf", "*", "..."), fc.constantFrom("\xff", "\xc3", "a\x80b").map((bytes) => `raw:${bytes}`));
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.map((one) => (one.startsWith("raw:") ? one.slice(4) : Buffer.from(one).toString("latin1"))).join("/"));
const time = fc.integer({ min: 0, max: 2 ** 41 });

export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("write" as const), path, seed: fc.nat(20), size: fc.oneof({ weight: 1, arbitrary: fc.constant(0) }, { weight: 6, arbitrary: fc.integer({ max: 5_000, min: 1 }) }, { weight: 1, arbitrary: fc.integer({ min: 500_000, max: 2_000_000 }) }), mode: fc.constantFrom(0o644, 0o755, 0o600, 0o444, 0o000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("sparse" as const), path, at: fc.integer({ min: 0, max: 4_000_000 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("directory" as const), path, mode: fc.constantFrom(0o755, 0o700, 0o555, 0o1777, 0o2775) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("symlink" as const), path, target: fc.constantFrom("a", "nowhere", "b/c", "./a.b") }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("rename" as const), path, to: path }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("hard link" as const), path, to: path }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("touch" as const), path, time }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("remove" as const), path }) },
);

/** Bytes that a seed and a size say: half of them repeat, so that they compress. */
export function bytesOf(seed: number, size: number): Buffer {
  const words = new Uint32Array(Math.ceil(size / 4));
  let state = seed * 2_654_435_761 + 1;
  for (let at = 0; at < words.length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    words[at] = (at >> 10) & 1 ? 0x41424344 : state ^ (state >>> 15);
  }
  return Buffer.from(words.buffer).subarray(0, size);
}

/** What cannot be done (a file where a directory would have to be) is not done. */
export function carryOut(root: string, steps: readonly Step[]): void {
  for (const one of steps) {
    const at = systemPath(root, one.path);
    try {
      const slash = one.path.lastIndexOf("/");
      if (slash > 0 && one.do !== "remove") mkdirSync(systemPath(root, one.path.slice(0, slash)), { recursive: true });
      if (one.do === "write") {
        writeFileSync(at, bytesOf(one.seed, one.size));
        chmodSync(at, one.mode);
      } else if (one.do === "sparse") {
        const fd = openSync(at, "w");
        ftruncateSync(fd, one.at + 100_000);
        writeSync(fd, Buffer.from("an island"), 0, 9, one.at);
        closeSync(fd);
      } else if (one.do === "directory") {
        mkdirSync(at, { recursive: true });
        chmodSync(at, one.mode);
      } else if (one.do === "symlink") symlinkSync(one.target, at);
      else if (one.do === "rename") renameSync(at, systemPath(root, one.to));
      else if (one.do === "hard link") linkSync(at, systemPath(root, one.to));
      else if (one.do === "touch") utimesSync(at, one.time / 1_000, one.time / 1_000);
      else rmSync(at, { recursive: true, force: true });
    } catch (error) {
      if (!(error instanceof Error && "code" in error)) throw error;
    }
  }
}
