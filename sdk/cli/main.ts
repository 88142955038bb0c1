/** Owns mctl's start: the real streams, signals and environment, and an end that loses no output. */

import { homedir } from "node:os";
import { EXIT, type Io } from "./io.ts";
import { mctl } from "./program.ts";

const handlers = new Set<() => void>();
process.on("SIGINT", () => {
  if (handlers.size === 0) process.exit(EXIT.interrupted);
  for (const handler of handlers) handler();
});

/** Who read our output has gone (`mctl … | head`): there is nobody left to tell. */
function onClosed(error: NodeJS.ErrnoException): void {
  process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.fault);
}
process.stdout.on("error", onClosed);
process.stderr.on("error", onClosed);

const io: Io = {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  home: homedir(),
  onInterrupt(handler) {
    handlers.add(handler);
    return () => handlers.delete(handler);
  },
  now: Date.now,
};

const code = await mctl(process.argv.slice(2), io);
// Pipes are written in the background: leave when they have taken all.
process.stdout.write("", () => process.stderr.write("", () => process.exit(code)));
