/** Owns what tests that kill stand on: agents of numbered lines, a client that outlasts a restart, processes to find and to kill, and logs to read afterwards. */

import { readFile, readdir, writeFile } from "node:fs/promises";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { Marionette, type Event } from "../../sdk/index.ts";
import type { Stack, StackHost } from "./stack.ts";

const AGENT = join(import.meta.dirname, "line-agent.ts");

/** Arguments of a daemon that knows the agent `lines` and runs it as a plain process, whose pid is the real one. */
export async function lineHostArgs(dir: string): Promise<string[]> {
  const file = join(dir, "marionette.yaml");
  await writeFile(file, stringify({ providers: { default: "process", process: { isolation: "none" } }, agents: { custom: { lines: { binary: process.execPath, args: [AGENT] } } } }));
  return ["--config", file, "--max-runners", "32"];
}

/** A client that outlasts a restart. */
export function patientClient(stack: Stack): Marionette {
  return new Marionette({ url: stack.url, apiKey: stack.apiKey, max_retries: 30 });
}

/** Runners of a host that live now. */
export async function runnersOf(host: StackHost): Promise<{ runner_id: string; session_id: string; epoch: number; pid: number; dir: string }[]> {
  const runners = join(host.dir, "runners");
  const found = await Promise.all(
    (await readdir(runners).catch(() => [])).map(async (name) => {
      try {
        const { runner_id, session_id, epoch, pid } = JSON.parse(await readFile(join(runners, name, "process.json"), "utf8")) as { runner_id: string; session_id: string; epoch: number; pid: number };
        return commandOf(pid).includes("runner.js") ? { runner_id, session_id, epoch, pid, dir: join(runners, name) } : null;
      } catch {
        return null;
      }
    }),
  );
  return found.filter((each) => each !== null);
}

/** A process's command line; empty where there is none. */
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}

/** SIGKILL for exactly this process; false where it was gone. */
export function killed(pid: number): boolean {
  try {
    process.kill(pid, "SIGKILL");
    return true;
  } catch {
    return false;
  }
}

/** The last line that a dead runner's journal holds of a run; 0 where it holds none, or is taken away already with a runner that was to end. */
export function journalled(runnerDir: string, runId: string): number {
  const file = join(runnerDir, "state", "journal.jsonl");
  if (!existsSync(file)) return 0;
  const text = readFileSync(file, "utf8");
  return Math.max(0, ...[...text.matchAll(/line (\d+) of (trun_\w+)/g)].filter(([, , run]) => run === runId).map(([, n]) => Number(n)));
}

/** The whole log, from the API alone. */
export async function storedLog(client: Marionette, sessionId: string): Promise<Event[]> {
  const events: Event[] = [];
  for await (const event of client.sessions.events(sessionId)) events.push(event);
  return events;
}

/** Numbers of the lines that the log has of a run, in its order. */
export function linesOf(events: readonly Event[], runId: string): number[] {
  return events.flatMap((event) => (event.type === "log" && event.run_id === runId ? [...event.data.text.matchAll(/line (\d+) of/g)].map(([, n]) => Number(n)) : []));
}
