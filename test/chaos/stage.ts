/** Owns what chaos is made on: a stack, hosts behind proxies of their own, sessions under load, and the repair of whatever was broken. */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import Docker from "dockerode";
import { stringify } from "yaml";
import type { Marionette } from "../../sdk/index.ts";
import { host as hostSchema, TASK_ENDED } from "../../sdk/protocol/index.ts";
import { listOf } from "../support/api.ts";
import { patientClient } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import type { LinePrompt } from "../support/line-agent.ts";
import { startProxy, type Proxy } from "../support/proxy.ts";
import { startStack, type Stack, type StackHost } from "../support/stack.ts";
import { clockAt, type Clock } from "./clock.ts";
import { smallDisk, type SmallDisk } from "./disk.ts";
import { subject, type Subject } from "./subject.ts";

const AGENT = join(import.meta.dirname, "../support/line-agent.ts");
/** Longest that the work may take once everything is repaired. */
const CALM_MS = 120_000;
/** Longest until a dead daemon is known to be gone: where its connection was half open, only its silence tells. */
const GONE_MS = 150_000;
const IMAGE = "marionette-runner:latest";

/** A host with the way to it. `name` is also its label `chaos`. */
export interface Place {
  name: string;
  pool: string;
  host: StackHost;
  proxy: Proxy;
  disk: SmallDisk | null;
  /** Is being killed or brought back. */
  busy: boolean;
}

export interface StageOptions {
  sessions: number;
  prompt: LinePrompt;
  /** A host and sessions in containers, where an engine answers. */
  docker: boolean;
  say: (line: string) => void;
}

export interface Stage {
  stack: Stack;
  client: Marionette;
  places: Place[];
  subjects: Subject[];
  prompt: LinePrompt;
  clock: Clock;
  engine: Docker | null;
  /** What this machine or this version cannot do, by fault, in words. */
  missing: Map<string, string>;
  /** Paths of the API. */
  routes: ReadonlySet<string>;
  /** Defects that were met on the way. */
  problems: string[];
  /** Kills the daemon, leaves its runners, and brings it back. */
  restart(place: Place): Promise<void>;
  /** What each session's task waits for now, in words. */
  stuck(): Promise<string[]>;
  /** Ends the load and waits until all of it is done. */
  calm(): Promise<void>;
  close(): Promise<void>;
}

/** An engine that answers and has the runners' image; else why not. */
async function dockerEngine(): Promise<Docker | string> {
  const engine = new Docker();
  try {
    await engine.ping();
  } catch {
    return "no Docker engine answers";
  }
  return engine.getImage(IMAGE).inspect().then(() => engine, () => `the image ${IMAGE} is missing: npm run image`);
}

/** What the tasks wait for that have not ended, in words. */
async function stuck(client: Marionette, subjects: readonly Subject[]): Promise<string[]> {
  const found: string[] = [];
  for (const { session, tasks } of subjects) {
    const task = await client.tasks.get(tasks.at(-1) ?? "");
    if (TASK_ENDED.has(task.status)) continue;
    const now = await client.sessions.get(session.id);
    found.push(`${task.id} is ${task.status}, waits for ${task.waiting_for ?? "nothing"}; its session is ${now.status} (${now.status_reason ?? "no reason"}), its runner ${now.runner?.state ?? "none"}, ${now.pending_permissions} questions`);
  }
  return found;
}

export async function startStage({ sessions, prompt, docker, say }: StageOptions): Promise<Stage> {
  const ends: (() => unknown)[] = [];
  const close = async () => {
    for (const end of ends.splice(0).reverse()) await Promise.resolve(end()).catch((error: unknown) => say(`while cleaning up: ${String(error)}`));
  };
  try {
    return await start();
  } catch (error) {
    await close();
    throw error;
  }

  async function start(): Promise<Stage> {
    const dir = await mkdtemp(join(tmpdir(), "marionette-chaos-"));
    ends.push(() => rm(dir, { recursive: true, force: true, maxRetries: 3 }));
    const clock = clockAt(join(dir, "clock"));
    // Taken away after the stack is closed: until then its host needs it to end what it started.
    const disk = smallDisk(join(dir, "small"));
    if (typeof disk !== "string") ends.push(() => disk.close());
    const stack = await startStack({ prelude: clock.prelude });
    ends.push(() => stack.close());
    const client = patientClient(stack);
    const missing = new Map<string, string>();
    if (typeof disk === "string") missing.set("disk", disk);
    const problems: string[] = [];
    const env = { PATH: process.env["PATH"] ?? "" };
    const lines = { binary: process.execPath, args: [AGENT] };

    async function config(name: string, providers: object): Promise<string[]> {
      const file = join(dir, `${name}.yaml`);
      await writeFile(file, stringify({ providers, agents: { custom: { lines } } }));
      return ["--config", file, "--max-runners", "32"];
    }
    const arguments_ = new Map<Place, string[]>();
    async function place(name: string, args: string[], pool: string, disk: SmallDisk | null): Promise<Place> {
      const proxy = await startProxy(stack.url);
      ends.push(() => proxy.close());
      const all = [...args, "--server", proxy.url, "--labels", `chaos=${name}`];
      const data = disk ? join(disk.dir, "host") : join(dir, `host-${name}`);
      await mkdir(data, { recursive: true, mode: 0o700 });
      const made: Place = { name, pool, proxy, disk, busy: false, host: await stack.host({ args: all, env, pool, dir: data }) };
      arguments_.set(made, all);
      return made;
    }

    const plain = { default: "process", process: { isolation: "none" } };
    const places = [await place("one", await config("one", plain), "default", null), await place("two", await config("two", plain), "default", typeof disk === "string" ? null : disk)];
    const engine = docker ? await dockerEngine() : "not asked for";
    if (typeof engine === "string") missing.set("container", engine);
    else places.push(await place("boxes", await config("boxes", { default: "docker", docker: { resources: { memory: "256m", cpus: 1, pids: 128 } } }), "boxes", null));

    const pools = Array.from({ length: sessions }, (_, i) => (typeof engine !== "string" && i % 4 === 3 ? "boxes" : "default"));
    const subjects = await Promise.all(pools.map((pool) => subject(stack, client, { pool })));
    let over = false;
    const driven = Promise.all(subjects.map((each) => each.drive(prompt, () => over)));
    driven.catch((error: unknown) => problems.push(`the load broke off: ${error instanceof Error ? error.message : String(error)}`));
    const document = (await (await fetch(`${stack.url}/openapi.json`)).json()) as { paths: object };

    let restarting: Promise<unknown> = Promise.resolve();
    const restart = async (struck: Place) => {
      await struck.host.kill();
      // One after the other: a host that comes back is told by not having been there.
      const turn = restarting.then(async () => {
        const offline = async () => (await stack.api.get("/hosts?limit=200", listOf(hostSchema))).items.some(({ id, status }) => id === struck.host.id && status === "offline");
        await eventually(`the host ${struck.name} is seen to be gone`, offline, GONE_MS);
        const { id, dir: data } = struck.host;
        // Another pool would be a move, after which it is not there for the sessions that it holds.
        struck.host = await stack.host({ args: arguments_.get(struck) ?? [], env, pool: struck.pool, dir: data, id });
        const { items } = await client.hosts.list({ limit: 200 });
        if (items.length !== places.length) problems.push(`the host ${struck.name} came back as another: there are ${items.length}, not ${places.length}`);
      });
      restarting = turn.catch(() => {});
      await turn;
    };
    return {
      stack, client, places, subjects, prompt, clock, missing, problems, restart, close,
      engine: typeof engine === "string" ? null : engine,
      stuck: () => stuck(client, subjects),
      routes: new Set(Object.keys(document.paths)),
      async calm() {
        over = true;
        const done = await Promise.race([driven.then(() => true), delay(CALM_MS, false, { ref: false })]);
        if (!done) problems.push(...(await stuck(client, subjects)).map((each) => `has not ended within ${CALM_MS / 1_000} s after all was repaired: ${each}`));
        await Promise.race([Promise.all(subjects.map((each) => each.settled())), delay(CALM_MS, null, { ref: false })]);
      },
    };
  }
}
