/** Owns the first step of `npm start`, on whatever Node there is: installs what running needs, then hands over to the pinned Node. */

import { spawn } from "node:child_process";
import { join } from "node:path";
import { checkNode, install, NODE, ROOT } from "./install.mjs";

checkNode();
try {
  await install({ dev: false });
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(2);
}

// In a group of its own, so that a terminal's Ctrl-C comes once, through here, and not to every part at the same moment.
const child = spawn(NODE, [join(ROOT, "worker/local/main.ts"), ...process.argv.slice(2)], { detached: true, stdio: ["ignore", "inherit", "inherit", "ipc"], cwd: process.cwd() });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.once("error", (error) => {
  process.stderr.write(`${NODE} does not start: ${error.message}\n`);
  process.exit(2);
});
child.once("exit", (code, signal) => process.exit(code ?? (signal ? 2 : 0)));
