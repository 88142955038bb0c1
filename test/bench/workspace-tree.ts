/** Owns the tree of the workspace bench: about 500 MB, 50,000 small files of text and 16 large ones, the same each time. */

import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { chance } from "../support/random.ts";

const DIRECTORIES = 500;
const FILES_EACH = 100;
const LARGE = 16;
const LARGE_BYTES = 12 * 1024 * 1024;
const WORDS = "const let function return import export class if else for await async of new this value result error string number type interface".split(" ");

export const SMALL_FILES = DIRECTORIES * FILES_EACH;

const small = (at: number) => join(`package-${Math.floor(at / FILES_EACH) % 50}`, `directory-${Math.floor(at / FILES_EACH)}`, `file-${at % FILES_EACH}.ts`);

function text(next: () => number, length: number): string {
  let out = "";
  while (out.length < length) out += `${WORDS[Math.floor(next() * WORDS.length)]}${next() < 0.3 ? Math.floor(next() * 1e6).toString(36) : ""}${next() < 0.1 ? "\n" : " "}`;
  return out.slice(0, length);
}

/** Large files are half noise (as pictures and archives are) and half of it followed by what repeats. */
export function makeTree(root: string, { directories, large }: { directories: number; large: number } = { directories: DIRECTORIES, large: LARGE }): void {
  const { below } = chance(20_261_121);
  const next = () => below(2 ** 32) / 2 ** 32;
  for (let at = 0; at < directories * FILES_EACH; at++) {
    const path = join(root, small(at));
    if (at % FILES_EACH === 0) mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, text(next, 500 + Math.floor(next() * next() * 20_000)));
  }
  for (let at = 0; at < large; at++) {
    const noise = new Uint32Array(LARGE_BYTES / 4);
    for (let word = 0; word < noise.length; word++) noise[word] = next() * 2 ** 32;
    const bytes = Buffer.from(noise.buffer);
    if (at % 2 === 1) bytes.fill(text(next, 65_536), LARGE_BYTES / 2);
    writeFileSync(join(root, `large-${at}.bin`), bytes);
  }
}

/** Changes one small file in a hundred, and some bytes in the middle of a large one. */
export function changeTree(root: string, round: number): void {
  for (let at = round; at < SMALL_FILES; at += 100) writeFileSync(join(root, small(at)), `// changed in round ${round}\n`, { flag: "a" });
  const fd = openSync(join(root, "large-3.bin"), "r+");
  writeSync(fd, Buffer.from(`round ${round}`), 0, 7, 5 * 1024 * 1024);
  closeSync(fd);
}
