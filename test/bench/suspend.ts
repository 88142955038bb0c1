/** Owns the suspend bench: a container paused and resumed through the host's daemon, and a whole session, beside the engine's own pause and unpause. */

import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import { parseConfig } from "../../agent/config/file.ts";
import { HostDaemon } from "../../agent/daemon/daemon.ts";
import { logger } from "../../agent/daemon/log.ts";
import { Marionette, type Session } from "../../sdk/index.ts";
import { newId, newToken, type SpawnSpec } from "../../sdk/protocol/index.ts";
import { eventually } from "../support/eventually.ts";
import { openDoor } from "../support/host-door.ts";
import { startStack } from "../support/stack.ts";
import { number, quantile, type Figure } from "./table.ts";

const TIMES = 20;
const OVER_ENGINE_MS = 200;
/** A session takes its capsule before its runner is frozen: its files are read and sent. */
const WITH_CAPSULE_MS = 1_000;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

/** The engine's own pause and unpause of this container, milliseconds. */
async function engineOwn(container: Docker.Container): Promise<{ pause: number; unpause: number }> {
  const [pauses, unpauses]: [number[], number[]] = [[], []];
  for (let i = 0; i < TIMES; i++) {
    pauses.push(await timed(() => container.pause()));
    unpauses.push(await timed(() => container.unpause()));
  }
  return { pause: quantile(pauses, 0.5), unpause: quantile(unpauses, 0.5) };
}

function figure(work: string, times: readonly number[], raw: number, over = OVER_ENGINE_MS): Figure {
  const p50 = quantile(times, 0.5);
  return { work, result: `p50 ${number(p50)} ms, p99 ${number(quantile(times, 0.99))} ms`, raw: `${number(raw)} ms (the engine's own)`, ratio: p50 / raw, goal: `≤ ${number(over)} ms over it`, met: p50 - raw <= over };
}

/** A runner that does nothing, through a daemon's link. */
async function throughDaemon(docker: Docker): Promise<Figure[]> {
  const root = await mkdtemp(join(tmpdir(), "bench-suspend-"));
  const door = await openDoor();
  await mkdir(join(root, "bundle"), { mode: 0o755 });
  await copyFile(join(import.meta.dirname, "../support/scripted-runner.mjs"), join(root, "bundle/runner.js"));
  const daemon = new HostDaemon({
    server: door.url, token: newToken("runner"), pool: "default", labels: {}, name: "bench", maxRunners: undefined, config: parseConfig("providers: { default: docker }"), data: join(root, "data"),
    runnerBundle: join(root, "bundle/runner.js"), beside: root, version: "0.0.0", env: process.env, log: logger({ level: "error", pretty: true, write: (line) => void process.stderr.write(line) }),
  });
  try {
    await daemon.start();
    const remote = await eventually("the daemon has joined", () => door.daemon);
    const now = Date.now();
    const spec: SpawnSpec = {
      runner_id: newId("runner", now), session_id: newId("session", now), tenant_id: newId("tenant", now), workspace_id: newId("workspace", now), epoch: 1, run_token: newToken("run"),
      agent: "example", model: null, provider: "docker", env: { SCRIPT: "await forever()" }, keep_raw: false, needs_key: false,
    };
    const spawned = await remote.spawn(spec);
    if (!spawned.ok) throw new Error(spawned.error.message);
    const raw = await engineOwn(docker.getContainer(`marionette-${spec.runner_id}`));
    const [suspends, resumes]: [number[], number[]] = [[], []];
    for (let i = 0; i < TIMES; i++) {
      suspends.push(await timed(async () => {
        const answer = await remote.suspend(spec.runner_id, "pause", null);
        if (!answer.ok) throw new Error(answer.error.message);
      }));
      resumes.push(await timed(async () => {
        const answer = await remote.resume(spec.runner_id);
        if (!answer.ok) throw new Error(answer.error.message);
      }));
    }
    await remote.destroy(spec.runner_id, "the bench is over");
    return [figure("a container paused through the host's link", suspends, raw.pause), figure("a paused container resumed through the host's link", resumes, raw.unpause)];
  } finally {
    await daemon.close("stop");
    await door.close();
    await rm(root, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** A session with a small workspace: its capsule is taken first, and at the end its runner's link is back. */
async function wholeSession(docker: Docker): Promise<Figure[]> {
  const stack = await startStack();
  try {
    const config = join(stack.dir, "bench.yaml");
    await writeFile(config, "providers: { default: docker }\n");
    await stack.host({ args: ["--config", config] });
    const client = new Marionette({ url: stack.url, apiKey: stack.apiKey });
    const session = await client.sessions.create({ agent: "example" });
    const reach = (status: Session["status"]) => eventually(`the session is ${status}`, async () => ((await client.sessions.get(session.id)).status === status ? true : null));
    await reach("active");
    const { runner } = await client.sessions.get(session.id);
    const raw = await engineOwn(docker.getContainer(`marionette-${runner?.id ?? ""}`));
    const [suspends, resumes]: [number[], number[]] = [[], []];
    for (let i = 0; i < TIMES; i++) {
      suspends.push(await timed(async () => {
        await client.sessions.suspend(session.id, { strategy: "pause" });
        await reach("suspended");
      }));
      resumes.push(await timed(async () => {
        await client.sessions.resume(session.id);
        await reach("active");
      }));
    }
    await client.sessions.terminate(session.id);
    return [figure("a session suspended by pause, capsule included", suspends, raw.pause, WITH_CAPSULE_MS), figure("a paused session resumed", resumes, raw.unpause)];
  } finally {
    await stack.close();
  }
}

/** Without an engine or the image there is nothing to measure, and the table says so. */
export async function benchSuspend(): Promise<Figure[]> {
  const docker = new Docker();
  const missing = await docker.getImage("marionette-runner:latest").inspect().then(() => null, (error: unknown) => (error instanceof Error ? error.message : String(error)));
  if (missing !== null) return [{ work: "a container paused and resumed", result: `not measured: ${missing.slice(0, 80)}`, raw: "–", ratio: null, goal: `≤ ${OVER_ENGINE_MS} ms over the engine's own`, met: false }];
  return [...(await throughDaemon(docker)), ...(await wholeSession(docker))];
}
