/** Owns `npm start`: its options, what it says, and that a signal ends everything it started. */

import { createServer } from "node:net";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Host } from "../../sdk/protocol/index.ts";
import { ROOT } from "./bundle.ts";
import { openData, type DataDirectory } from "./data.ts";
import { endLeftovers, living } from "./leftovers.ts";
import { startMachine, type Machine, type Ready } from "./machine.ts";

const HELP = `npm start: all of Marionette on this machine.

  npm start -- [options]

  --port N      port of the API (8420)                       MARIONETTE_PORT
  --data DIR    where everything is kept (.marionette)
  --help

MARIONETTE_DATABASE_URL names a PostgreSQL to use instead of the built-in PGlite.
Ctrl-C stops everything that it started; a second Ctrl-C does not wait.
`;

/** A fault of whoever called: told without a stack, exit code 1. */
class UsageError extends Error {}

function optionsOf(argv: string[]): { port: number; data: string; help: boolean } {
  const parse = () => parseArgs({ args: argv, options: { port: { type: "string" }, data: { type: "string" }, help: { type: "boolean", short: "h" } } });
  let values: ReturnType<typeof parse>["values"];
  try {
    ({ values } = parse());
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : String(error)}\nSee npm start -- --help`, { cause: error });
  }
  const text = values.port ?? process.env.MARIONETTE_PORT ?? "8420";
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new UsageError(`--port: expected a number from 1 to 65535, not '${text}'`);
  return { port, data: resolve(values.data ?? join(ROOT, ".marionette")), help: values.help ?? false };
}

/** Throws where something else listens on the port. */
async function assertFree(port: number): Promise<void> {
  await new Promise<void>((done, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      const reason = error.code === "EADDRINUSE" ? "is in use by another program" : error.code === "EACCES" ? "may not be opened by this user" : `cannot be opened (${error.message})`;
      reject(new UsageError(`Port ${port} ${reason}. Choose another: npm start -- --port ${port === 65_535 ? 8420 : port + 1}`));
    });
    server.listen(port, "127.0.0.1", () => server.close(() => done()));
  });
}

/** Makes sure that nothing else runs on this data: a living `npm start` is named, the rest of a dead one is ended. */
async function claim(data: DataDirectory): Promise<void> {
  const running = await data.running();
  if (!running) return;
  const pid = await living(running, "npm start");
  if (pid !== null && pid !== process.pid) throw new UsageError(`Marionette already runs on this data, at ${running.url} (process ${pid})`);
  const ended = await endLeftovers(running);
  if (ended.length > 0) print(`  ended what the last start left behind: ${ended.join(", ")}`);
  await data.saveRunning(null);
}

function print(line = ""): void {
  process.stdout.write(`${line}\n`);
}

function describeHost(host: Host | null): string[] {
  if (!host) return ["  Sandbox   no host is online: tasks wait until one is"];
  const provider = host.providers.find(({ name }) => name === host.default_provider);
  const others = host.providers.filter(({ name, available }) => name !== host.default_provider && !available);
  const missing = host.agents.filter(({ available }) => !available);
  return [
    `  Sandbox   ${host.default_provider}: ${provider?.detail ?? ""}`,
    ...others.map(({ name, detail }) => `            ${name} is not used: ${detail}`),
    `  Agents    ${host.agents.filter(({ available }) => available).map(({ name }) => name).join(", ") || "none"}`,
    ...missing.map(({ detail }, i) => `  ${i === 0 ? "Missing" : "       "}   ${detail}`),
  ];
}

function greet(machine: Ready, data: DataDirectory, took: number): void {
  const shown = relative(process.cwd(), data.contextFile);
  print();
  print(`Marionette is up after ${(took / 1000).toFixed(1)} s.`);
  print();
  print(`  Dashboard ${machine.url}/#key=${machine.apiKey}`);
  print(`  API       ${machine.url}   (reference: ${machine.url}/docs)`);
  print(`  API key   ${machine.apiKey}`);
  print(`            kept in ${shown.startsWith("..") ? data.contextFile : shown}, where mctl finds it`);
  for (const line of describeHost(machine.host)) print(line);
  print();
  print("Try, in another terminal:");
  print();
  print('  npx mctl run --agent example "write a haiku"');
  print("  npx mctl sessions list");
  print("  npx mctl hosts list");
  print();
  print("Ctrl-C stops everything.");
}

async function main(): Promise<void> {
  const began = Date.now();
  const options = optionsOf(process.argv.slice(2));
  if (options.help) return void process.stdout.write(HELP);

  const state: { machine: Machine | null; signals: number } = { machine: null, signals: 0 };
  function end(why: string): void {
    state.signals++;
    if (state.signals > 1) {
      state.machine?.kill();
      process.exit(130);
    }
    print(`\nStopping (${why}) …`);
    void (state.machine?.stop() ?? Promise.resolve()).then(
      () => {
        print("Stopped.");
        process.exit(0);
      },
      (error: unknown) => {
        process.stderr.write(`${String(error)}\n`);
        process.exit(2);
      },
    );
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => end(signal === "SIGINT" ? "Ctrl-C" : signal));
  // Whoever started this (start.mjs) holds the other end of a channel: when it is gone without a word, so is the terminal.
  process.on("disconnect", () => end("its terminal is gone"));
  process.stdout.on("error", () => {});

  const data = await openData(options.data);
  await claim(data);
  await assertFree(options.port);
  state.machine = startMachine({ data, port: options.port, databaseUrl: process.env.MARIONETTE_DATABASE_URL || undefined, say: (line) => print(`  ${line}`) });
  try {
    const running = await state.machine.ready;
    if (state.signals === 0) greet(running, data, Date.now() - began);
  } catch (error) {
    if (state.signals === 0) throw error;
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`\n${error instanceof UsageError || !(error instanceof Error) ? String(error instanceof Error ? error.message : error) : (error.stack ?? error.message)}\n`);
  process.exit(error instanceof UsageError ? 1 : 2);
});
