/** Owns `npm run bench`: runs the benches named on the command line, or all, and prints one table. */

import { cpus, totalmem } from "node:os";
import { benchDashboard } from "./dashboard.ts";
import { benchDispatch } from "./dispatch.ts";
import { benchEvents } from "./events.ts";
import { benchGateway } from "./gateway.ts";
import { benchHistory } from "./history.ts";
import { benchIdle } from "./idle.ts";
import { benchMarco } from "./marco.ts";
import { benchRecovery } from "./recovery.ts";
import { benchResume } from "./resume.ts";
import { benchStart } from "./start.ts";
import { benchSuspend } from "./suspend.ts";
import { print, type Figure } from "./table.ts";
import { benchWorkspace } from "./workspace.ts";

const BENCHES: Record<string, () => Promise<Figure[]>> = { dispatch: benchDispatch, events: benchEvents, start: benchStart, suspend: benchSuspend, resume: benchResume, history: benchHistory, idle: benchIdle, recovery: benchRecovery, gateway: benchGateway, marco: benchMarco, dashboard: benchDashboard, workspace: benchWorkspace };

const names = process.argv.slice(2);
const unknown = names.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  process.stderr.write(`no bench of that name: ${unknown.join(", ")}; there are ${Object.keys(BENCHES).join(", ")}\n`);
  process.exit(1);
}
const figures: Figure[] = [];
for (const [name, bench] of Object.entries(BENCHES)) {
  if (names.length > 0 && !names.includes(name)) continue;
  process.stderr.write(`${name} …\n`);
  figures.push(...(await bench()));
}
process.stdout.write(`${cpus().length} × ${cpus()[0]?.model ?? "?"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}\n\n${print(figures)}\n`);
process.exit(0);
