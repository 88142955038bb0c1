/** Owns a clock that can be made to jump: a prelude that is put in front of a program, and the file from which the program takes how wrong it is. */

import { rmSync, writeFileSync } from "node:fs";

export interface Clock {
  /** Put in front of a bundled program: its `Date` is off by as many milliseconds as the file says. Timers run on: they know no date. */
  prelude: string;
  /** All programs with the prelude are so many milliseconds off from now on. */
  jump(ms: number): void;
}

/** How often a program looks how wrong its clock is. */
const LOOK_MS = 50;

export function clockAt(path: string): Clock {
  return {
    prelude: `import { readFileSync as chaosRead } from "node:fs";
{
  const Real = Date;
  let offset = 0;
  const look = () => {
    try {
      offset = Number(chaosRead(${JSON.stringify(path)}, "utf8")) || 0;
    } catch {
      offset = 0;
    }
  };
  look();
  setInterval(look, ${LOOK_MS}).unref();
  globalThis.Date = class extends Real {
    constructor(...given) {
      if (given.length === 0) super(Real.now() + offset);
      else super(...given);
    }
    static now() {
      return Real.now() + offset;
    }
  };
}
`,
    jump(ms) {
      if (ms === 0) rmSync(path, { force: true });
      else writeFileSync(path, String(ms));
    },
  };
}
