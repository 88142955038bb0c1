/** Owns where benches that write many files do so: in memory where there is room, so that what is measured is not the moment's disk. */

import { mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new directory, in which what is started before `leave` lies too; `leave` removes it. */
export function roomyPlace(name: string, neededBytes: number): { base: string; leave: () => void } {
  const before = process.env["TMPDIR"];
  const base = mkdtempSync(join(roomy("/dev/shm", neededBytes) ? "/dev/shm" : tmpdir(), `marionette-bench-${name}-`));
  process.env["TMPDIR"] = base;
  return {
    base,
    leave: () => {
      if (before === undefined) delete process.env["TMPDIR"];
      else process.env["TMPDIR"] = before;
      rmSync(base, { recursive: true, force: true });
    },
  };
}

function roomy(path: string, neededBytes: number): boolean {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize > neededBytes;
  } catch {
    return false;
  }
}
