/** Owns a small disk that can be filled: a file system in memory, where this machine lets us mount one. */

import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

export interface SmallDisk {
  dir: string;
  /** Leaves not a byte. */
  fill(): void;
  free(): void;
  close(): void;
}

const SIZE_MB = 96;
const PIECE = Buffer.alloc(256 * 1024);

/** Mounts one at `dir`; null with the reason where that is not allowed. */
export function smallDisk(dir: string): SmallDisk | string {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${SIZE_MB}m,mode=0700`, "tmpfs", dir], { stdio: "pipe" });
  } catch (error) {
    return `no file system can be mounted here: ${error instanceof Error ? (error.message.split("\n")[1] ?? error.message) : String(error)}`;
  }
  const filler = join(dir, "filler");
  const free = () => rmSync(filler, { force: true });
  return {
    dir,
    free,
    fill() {
      const file = openSync(filler, "a");
      try {
        for (let size = PIECE.length; size >= 1; ) {
          try {
            // A piece that does not fit is tried smaller, down to a byte.
            if (writeSync(file, PIECE, 0, size) < size) size = Math.floor(size / 2);
          } catch (error) {
            if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
            size = Math.floor(size / 2);
          }
        }
      } finally {
        closeSync(file);
      }
    },
    close() {
      free();
      // Lazily: what still has a file open there keeps it until it ends.
      execFileSync("umount", ["-l", dir], { stdio: "pipe" });
    },
  };
}
