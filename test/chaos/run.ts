/** Owns `npm run chaos`: its options, its progress line, its table, and that Ctrl-C leaves nothing behind. */

import { parseArgs } from "node:util";
import { FAULTS } from "./faults.ts";
import { chaos, type ChaosProgress } from "./harness.ts";
import { tableOf } from "./table.ts";

const HELP = `npm run chaos: sessions under load, and everything killed under them.

  npm run chaos -- [options]

  --kills N      faults to strike (1,000)
  --seed S       of everything that is random (the clock)
  --minutes M    stop striking after so long
  --sessions N   sessions at work (8)
  --faults A,B   only these: ${FAULTS.map(({ name }) => name).join(", ")}
  --no-docker    no containers, though an engine answers
  --help

DATABASE_URL names a PostgreSQL to use instead of PGlite. Ctrl-C ends it early, with the table of what was done; a second one at once.
`;

function optionsOf(argv: string[]) {
  const { values } = parseArgs({
    args: argv, allowNegative: true,
    options: { kills: { type: "string" }, seed: { type: "string" }, minutes: { type: "string" }, sessions: { type: "string" }, faults: { type: "string" }, docker: { type: "boolean", default: true }, help: { type: "boolean", short: "h" } },
  });
  const whole = (name: "kills" | "seed" | "minutes" | "sessions", least: number): number | undefined => {
    const text = values[name];
    if (text === undefined) return undefined;
    if (!/^\d{1,10}$/.test(text) || Number(text) < least) throw new Error(`--${name}: expected a whole number of at least ${least}, not '${text}'`);
    return Number(text);
  };
  return {
    help: values.help ?? false, docker: values.docker, faults: values.faults?.split(",").filter(Boolean),
    kills: whole("kills", 1) ?? 1_000, seed: whole("seed", 0) ?? Date.now() % 2 ** 31, minutes: whole("minutes", 1), sessions: whole("sessions", 1) ?? 8,
  };
}

const terminal = process.stderr.isTTY;
let shown = 0;
function progress({ struck, of, open, last, events, elapsed_ms }: ChaosProgress): void {
  const line = `${struck} of ${of} struck, ${open} open, ${events.toLocaleString("en-US")} events, ${Math.round(elapsed_ms / 1_000)} s   ${last}`;
  if (terminal) process.stderr.write(`\r\x1b[2K${line.slice(0, (process.stderr.columns ?? 120) - 1)}`);
  // Where nobody watches, a line now and then.
  else if (struck >= shown + 5) {
    shown = struck;
    process.stderr.write(`${line}\n`);
  }
}

async function main(): Promise<number> {
  const options = optionsOf(process.argv.slice(2));
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const abort = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (abort.signal.aborted) process.exit(130);
      process.stderr.write("\nEnding: what is open is waited for, then everything is cleaned up (again: at once) …\n");
      abort.abort();
    });
  }
  process.stderr.write(`seed ${options.seed}\n`);
  const report = await chaos({ ...options, slow: true, signal: abort.signal, progress, say: (line) => void process.stderr.write(`${terminal ? "\r\x1b[2K" : ""}${line}\n`) });
  if (terminal) process.stderr.write("\r\x1b[2K");
  process.stdout.write(`${tableOf(report)}\n`);
  return report.broken.length > 0 ? 1 : abort.signal.aborted ? 130 : 0;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(2);
  },
);
