/** Owns how much memory a runner holds: a prelude that collects what is garbage, again and again, and writes down the most that was left. What the collector leaves lying around for a while does not count. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

const EVERY_MS = 100;
const FILE = "live-memory";

/** Put in front of the programs. A runner writes beside the file that tells it what to do, which is all that its sandbox and the host have in common. */
export const LIVE_MEMORY = `import { renameSync as liveRename, writeFileSync as liveWrite } from "node:fs";
import { dirname as liveDirname } from "node:path";
import { setFlagsFromString as liveFlags } from "node:v8";
import { runInNewContext as liveRun } from "node:vm";
if (process.argv[1].endsWith("runner.js")) {
  liveFlags("--expose-gc");
  const collect = liveRun("gc");
  const file = liveDirname(process.argv[2]) + "/${FILE}";
  let most = 0;
  setInterval(() => {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    if (heapUsed + external <= most) return;
    most = heapUsed + external;
    liveWrite(file + ".new", String(most));
    liveRename(file + ".new", file);
  }, ${EVERY_MS}).unref();
}
`;

/** The most that the runner of that id ever held, in MiB, on the host with the data directory `host`. Throws where it has not the prelude, or has just begun. */
export function liveMemory(host: string, runnerId: string): number {
  return Number(readFileSync(join(host, "runners", runnerId, "state", FILE), "utf8")) / 2 ** 20;
}
