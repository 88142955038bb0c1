#!/usr/bin/env node
/** Owns the entry of `marionette-agent`: reads the command line and runs the daemon until a signal ends it. */

import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import manifest from "./package.json" with { type: "json" };
import { HELP, parseCommand, UsageError, type RunOptions } from "./config/cli.ts";
import { checkMachine, ConfigError, readConfig } from "./config/file.ts";
import { install } from "./config/install.ts";
import { HostDaemon } from "./daemon/daemon.ts";
import { logger } from "./daemon/log.ts";

const here = dirname(fileURLToPath(import.meta.url));

async function serve(options: RunOptions, env: NodeJS.ProcessEnv): Promise<void> {
  const log = logger({ level: options.level, pretty: options.pretty ?? process.stderr.isTTY, write: (line) => void process.stderr.write(line) });
  const config = await readConfig(options.config);
  // What is not there now may come, such as a disk: it is refused when it is asked for.
  await checkMachine(config, options.config).catch((error: unknown) => log.warn("config.browse_roots", { error: error instanceof Error ? error.message : String(error) }));
  const daemon = new HostDaemon({
    server: options.server, token: options.token, pool: options.pool, labels: options.labels, name: options.name, maxRunners: options.maxRunners,
    config, data: options.data, hide: options.hide, runnerBundle: options.runnerBundle, beside: here, version: manifest.version, env, log,
  });
  let stopping = false;
  const stop = (signal: NodeJS.Signals) => {
    // A second signal does not wait for anything.
    if (stopping) process.exit(130);
    stopping = true;
    log.info("host.stopping", { signal, runners: options.onExit });
    daemon.close(options.onExit).then(
      () => process.exit(0),
      (error: unknown) => {
        log.error("host.stop_failed", { error: String(error) });
        process.exit(2);
      },
    );
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  process.on("unhandledRejection", (error) => log.error("host.defect", { error: error instanceof Error ? error.stack : String(error) }));
  await daemon.start();
  log.info("host.ready", { data: options.data, pool: options.pool, server: options.server });
}

/** Runs one command line; resolves with the exit code, or with null while the daemon goes on. */
export async function main(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number | null> {
  try {
    const command = parseCommand(argv, env);
    if (command.kind === "install") return await install(command.options, command.print);
    if (command.kind === "run") {
      await serve(command.options, env);
      return null;
    }
    if (command.kind === "config check") {
      await checkMachine(await readConfig(command.config), command.config);
      process.stdout.write(command.config === undefined ? "no file named: every setting has its default\n" : `${command.config} is valid\n`);
    } else process.stdout.write(command.kind === "help" ? HELP : `${manifest.version}\n`);
    return 0;
  } catch (error) {
    if (error instanceof UsageError || error instanceof ConfigError) {
      process.stderr.write(`${error.message}\n`);
      return 1;
    }
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    return 2;
  }
}

if (import.meta.main) {
  const code = await main(process.argv.slice(2), process.env);
  if (code !== null) process.exit(code);
}
