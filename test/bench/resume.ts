/** Owns the resume bench: a session of 100 MB whose host's files are gone goes on on another host, until its agent's process runs there on the same files. */

import { spawnSync } from "node:child_process";
import { cpSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { Marionette, type Session } from "../../sdk/index.ts";
import { eventually } from "../support/eventually.ts";
import { all } from "../support/scene.ts";
import { startStack, type StackHost } from "../support/stack.ts";
import { roomyPlace } from "./place.ts";
import { number, quantile, type Figure } from "./table.ts";
import { makeTree } from "./workspace-tree.ts";

const TIMES = 4;
const GOAL_MS = 3_000;
const NEEDED_BYTES = 2 ** 30;
/** A fifth of the workspace bench's tree: 10,000 small files of 55 MB and four large ones of 12 MiB. */
const TREE = { directories: 100, large: 4 };
const ZONES = ["a", "b"] as const;

export async function benchResume(): Promise<Figure[]> {
  const { leave } = roomyPlace("resume", NEEDED_BYTES);
  const stack = await startStack();
  try {
    const config = join(stack.dir, "bench.yaml");
    await writeFile(config, 'providers:\n  default: process\nagents:\n  custom:\n    clock: { binary: /bin/date, args: ["+%s.%N"] }\n');
    const hosts = Object.fromEntries(await Promise.all(ZONES.map(async (zone) => [zone, await stack.host({ args: ["--config", config], labels: { zone } })] as const))) as Record<(typeof ZONES)[number], StackHost>;
    const client = new Marionette({ url: stack.url, apiKey: stack.apiKey });
    const session = await client.sessions.create({ agent: "clock", selector: "zone=a" });
    const reach = (status: Session["status"]) => eventually(`the session is ${status}`, async () => ((await client.sessions.get(session.id)).status === status ? true : null), 60_000);
    const filesOn = (host: StackHost) => join(host.dir, "workspaces", session.workspace_id);
    await reach("active");
    const tree = join(stack.dir, "tree");
    makeTree(tree, TREE);
    cpSync(tree, filesOn(hosts.a), { recursive: true });
    const raw: number[] = [];
    const waits: number[] = [];
    const restores: number[] = [];
    for (let i = 0; i < TIMES; i++) {
      await client.sessions.suspend(session.id, { strategy: "terminate" });
      await reach("suspended");
      // What is on the other host is from the time before, and goes as well: nothing but the capsule has the files.
      for (const host of Object.values(hosts)) rmSync(filesOn(host), { recursive: true, force: true });
      const copying = performance.now();
      cpSync(tree, join(stack.dir, "copied"), { recursive: true });
      raw.push(performance.now() - copying);
      rmSync(join(stack.dir, "copied"), { recursive: true });
      const zone = i % 2 === 0 ? "b" : "a";
      const begun = performance.timeOrigin + performance.now();
      await client.sessions.resume(session.id, { selector: `zone=${zone}` });
      const task = await client.tasks.wait((await client.tasks.create(session.id, { prompt: "now" })).id);
      if (task.status !== "completed") throw new Error(JSON.stringify(task.error));
      const [said] = (await all(client.tasks.logs(task.id))).flatMap((event) => (event.type === "log" && event.data.stream === "stdout" ? [Number(event.data.text.trim()) * 1_000] : []));
      waits.push(z.number().parse(said) - begun);
      const restored = (await all(client.sessions.events(session.id))).flatMap((event) => (event.type === "workspace.restored" ? [event.data.duration_ms] : []));
      restores.push(restored.at(-1) ?? Number.NaN);
      const compared = spawnSync("diff", ["-r", "--brief", tree, filesOn(hosts[zone])], { encoding: "utf8" });
      if (compared.status !== 0) throw new Error(`another tree was restored: ${compared.stdout.slice(0, 500)}`);
      process.stderr.write(`  to host ${zone}: ${number(waits.at(-1) ?? 0)} ms, of that the restore ${number(restores.at(-1) ?? 0)} ms\n`);
    }
    const p50 = quantile(waits, 0.5);
    return [{
      work: "resume of 100 MB (10,004 files) on another host, to the agent's process", result: `p50 ${number(p50)} ms, max ${number(Math.max(...waits))} ms; restore ${number(quantile(restores, 0.5))} ms`,
      raw: `${number(quantile(raw, 0.5))} ms (copying the files)`, ratio: p50 / quantile(raw, 0.5), goal: `≤ ${number(GOAL_MS)} ms`, met: p50 <= GOAL_MS,
    }];
  } finally {
    await stack.close();
    leave();
  }
}
