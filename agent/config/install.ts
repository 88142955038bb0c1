/** Owns the service files of a host: a systemd unit or a launchd plist, with the token in a file that only its owner reads. */

import { chmod, mkdir, writeFile } from "node:fs/promises";
import { homedir, platform } from "node:os";
import { dirname, join, resolve } from "node:path";
import { UsageError, type RunOptions } from "./cli.ts";

export type InstallOptions = Omit<RunOptions, "token"> & { token: string | undefined };

export interface ServiceFile {
  path: string;
  mode: number;
  text: string;
}

export interface ServiceHost {
  platform: NodeJS.Platform;
  home: string;
  root: boolean;
  /** Node and the daemon's file. */
  command: readonly [string, string];
}

/** The files that make the daemon a service, and what to do then. */
export function serviceFiles(options: InstallOptions, host: ServiceHost): { files: ServiceFile[]; next: string } {
  if (host.platform !== "linux" && host.platform !== "darwin") throw new UsageError(`install: no service manager is known on ${host.platform}; run marionette-agent from your own`);
  const directory = host.root ? "/etc/marionette" : join(host.home, ".config", "marionette");
  const environment: ServiceFile = { path: join(directory, "agent.env"), mode: 0o600, text: `MARIONETTE_API_URL=${options.server}\nMARIONETTE_RUNNER_TOKEN=${options.token ?? "rtok_"}\n` };
  const command = [...host.command, ...argumentsOf(options)];
  return host.platform === "linux" ? systemd(command, environment, host) : launchd(command, environment, host);
}

function argumentsOf(options: InstallOptions): string[] {
  const labels = Object.entries(options.labels).map(([key, value]) => `${key}=${value}`).join(",");
  return [
    "--pool", options.pool, "--data", options.data, "--on-exit", options.onExit,
    ...(labels ? ["--labels", labels] : []),
    ...(options.name !== undefined ? ["--name", options.name] : []),
    ...options.hide.flatMap((path) => ["--hide", path]),
    ...(options.config !== undefined ? ["--config", resolve(options.config)] : []),
    ...(options.maxRunners !== undefined ? ["--max-runners", String(options.maxRunners)] : []),
    ...(options.runnerBundle !== undefined ? ["--runner-bundle", options.runnerBundle] : []),
  ];
}

function systemd(command: readonly string[], environment: ServiceFile, host: ServiceHost): { files: ServiceFile[]; next: string } {
  const quoted = command.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word.replaceAll("%", "%%") : `"${word.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("%", "%%").replaceAll("$", "$$$$")}"`));
  const text = [
    "[Unit]", "Description=Marionette host daemon", "After=network-online.target docker.service", "Wants=network-online.target", "",
    "[Service]", `EnvironmentFile=${environment.path}`, `ExecStart=${quoted.join(" ")}`, "Restart=always", "RestartSec=2",
    // Runners outlive a restart of their daemon and are adopted by the next one.
    "KillMode=process", "TimeoutStopSec=30", "",
    "[Install]", `WantedBy=${host.root ? "multi-user.target" : "default.target"}`, "",
  ].join("\n");
  const path = host.root ? "/etc/systemd/system/marionette-agent.service" : join(host.home, ".config/systemd/user/marionette-agent.service");
  const control = host.root ? "systemctl" : "systemctl --user";
  return { files: [environment, { path, mode: 0o644, text }], next: `${control} daemon-reload && ${control} enable --now marionette-agent` };
}

function launchd(command: readonly string[], environment: ServiceFile, host: ServiceHost): { files: ServiceFile[]; next: string } {
  // launchd reads no environment file: a shell does.
  const script = `set -a; . ${shellQuoted(environment.path)}; exec ${command.map(shellQuoted).join(" ")}`;
  const path = host.root ? "/Library/LaunchDaemons/dev.marionette.agent.plist" : join(host.home, "Library/LaunchAgents/dev.marionette.agent.plist");
  const text = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
  <key>Label</key><string>dev.marionette.agent</string>
  <key>ProgramArguments</key><array><string>/bin/sh</string><string>-c</string><string>${xml(script)}</string></array>
  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key><true/>
  <key>AbandonProcessGroup</key><true/>
</dict></plist>
`;
  return { files: [environment, { path, mode: 0o644, text }], next: `launchctl bootstrap ${host.root ? "system" : `gui/$(id -u)`} ${path}` };
}

const shellQuoted = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
const xml = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** Writes the files (or prints them, the token hidden) and says what to do then; the exit code. */
export async function install(options: InstallOptions, print: boolean): Promise<number> {
  const main = process.argv[1];
  if (main === undefined) throw new UsageError("install: cannot tell which file the daemon was started from");
  const { files, next } = serviceFiles(options, { platform: platform(), home: homedir(), root: process.getuid?.() === 0, command: [process.execPath, resolve(main)] });
  if (print) {
    for (const { path, mode, text } of files) process.stdout.write(`# ${path} (mode ${mode.toString(8)})\n${text.replace(/rtok_\S+/g, "rtok_[secret]")}\n`);
    process.stdout.write(`# then: ${next}\n`);
    return 0;
  }
  if (options.token === undefined) throw new UsageError("install: no runner token: set MARIONETTE_RUNNER_TOKEN (or --token rtok_…)");
  for (const { path, mode, text } of files) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text, { mode });
    await chmod(path, mode);
    process.stdout.write(`wrote ${path}\n`);
  }
  process.stdout.write(`then: ${next}\n`);
  return 0;
}
