/** Owns `npm run soak`: what is random in the tests, again and again with new seeds, for as long as one likes. */

import { spawn } from "node:child_process";
import { globSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

const ROOT = join(import.meta.dirname, "../..");
const HELP = `npm run soak: everything that is random in the tests, again and again with new seeds.

  npm run soak -- [options]

  --minutes M    begin no round after so long (60)
  --kills N      faults of a round's chaos (200)
  --only A,B     only these: properties, kills, chaos
  --logs DIR     where what failed is written (.marionette/soak)
  --help

Exits with 1 where anything failed. Ctrl-C ends it with the table of what was done.
`;

interface Work {
  name: string;
  args: string[];
}
interface Round {
  name: string;
  passed: boolean;
  seconds: number;
  log: string;
}

const vitest = (project: string, files: string[]) => [join(ROOT, "node_modules/vitest/vitest.mjs"), "run", "--project", project, "--testTimeout", "600000", ...files];
const properties = (suffix: string) =>
  globSync(`{sdk,agent,durable-objects,worker}/**/*${suffix}`, { cwd: ROOT, exclude: ["**/node_modules/**"] })
    .filter((file) => suffix !== ".test.ts" || !file.endsWith(".workerd.test.ts"))
    .filter((file) => readFileSync(join(ROOT, file), "utf8").includes("fc.assert"));

function works(kills: number): Work[] {
  return [
    { name: "properties", args: vitest("unit", properties(".test.ts")) },
    { name: "properties in workerd", args: vitest("workerd", properties(".workerd.test.ts")) },
    { name: "kills, outage, hostile requests", args: vitest("e2e", ["kills", "outage", "fuzz", "resume"].map((name) => `test/e2e/${name}.test.ts`)) },
    { name: "chaos", args: [join(ROOT, "test/chaos/run.ts"), "--kills", String(kills)] },
  ];
}

function optionsOf(argv: string[]) {
  const { values } = parseArgs({ args: argv, options: { minutes: { type: "string", default: "60" }, kills: { type: "string", default: "200" }, only: { type: "string", default: "" }, logs: { type: "string", default: join(ROOT, ".marionette/soak") }, help: { type: "boolean", short: "h", default: false } } });
  const whole = (name: "minutes" | "kills"): number => {
    if (!/^[1-9]\d{0,6}$/.test(values[name])) throw new Error(`--${name}: expected a whole number of at least 1, not '${values[name]}'`);
    return Number(values[name]);
  };
  const only = values.only.split(",").filter(Boolean);
  const all = works(whole("kills"));
  const unknown = only.filter((name) => !all.some((work) => work.name.startsWith(name)));
  if (unknown.length > 0) throw new Error(`--only: nothing is named ${unknown.join(", ")}`);
  return { help: values.help, minutes: whole("minutes"), logs: values.logs, works: all.filter(({ name }) => only.length === 0 || only.some((each) => name.startsWith(each))) };
}

async function main(): Promise<number> {
  const options = optionsOf(process.argv.slice(2));
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  mkdirSync(options.logs, { recursive: true });
  const rounds: Round[] = [];
  const end = Date.now() + options.minutes * 60_000;
  // A Ctrl-C reaches the child too, which cleans up by itself.
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stop.abort());
  for (let round = 1; !stop.signal.aborted && Date.now() < end; round++) {
    for (const { name, args } of options.works) {
      if (stop.signal.aborted) break;
      const begun = Date.now();
      const log = join(options.logs, `${round}-${name.replaceAll(/\W+/g, "-")}.log`);
      const out = openSync(log, "w");
      const code = await new Promise<number | null>((done) => spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", out, out] }).once("close", done));
      if (stop.signal.aborted) break;
      rounds.push({ name, passed: code === 0, seconds: Math.round((Date.now() - begun) / 1_000), log });
      process.stderr.write(`round ${round}: ${name} ${code === 0 ? "passed" : `FAILED, see ${log}`} (${rounds.at(-1)?.seconds} s)\n`);
    }
  }
  process.stdout.write("\n| work | rounds | failed | seconds |\n|---|---|---|---|\n");
  for (const { name } of options.works) {
    const of = rounds.filter((each) => each.name === name);
    process.stdout.write(`| ${name} | ${of.length} | ${of.filter(({ passed }) => !passed).length} | ${of.reduce((sum, { seconds }) => sum + seconds, 0)} |\n`);
  }
  return rounds.every(({ passed }) => passed) ? (stop.signal.aborted ? 130 : 0) : 1;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(2);
  },
);
