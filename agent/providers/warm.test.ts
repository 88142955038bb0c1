import { spawnSync } from "node:child_process";
import { chmod, cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { newId } from "../../sdk/protocol/index.ts";
import { parseConfig } from "../config/file.ts";
import { Layout, makeDirectories } from "../daemon/layout.ts";
import { logger } from "../daemon/log.ts";
import { marked } from "./proc.ts";
import { ProcessProvider } from "./process.ts";
import type { HostMount } from "./provider.ts";

const bubblewrap = spawnSync("bwrap", ["--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "true"]).status === 0;
const WAIT = { timeout: 20_000, interval: 10 };
let root: string;
let layout: Layout;
let provider: ProcessProvider;

/** How long the sandbox had lived when it was told what to do, and what it then had. */
const SCRIPT = `
const fs = require("node:fs");
fs.writeFileSync(spec.view.workspace + "/made", "here");
fs.writeFileSync(spec.view.state + "/said", JSON.stringify({ lived: process.uptime(), stdin, home: fs.readdirSync(process.env.HOME), spec: fs.readFileSync(spec.view.state + "/runner.json", "utf8").length, mark: process.env.MARIONETTE_RUNNER_ID }));
await forever();`;

async function begin(more: { workspace?: string; mounts?: HostMount[]; filler?: string } = {}) {
  const now = Date.now();
  const ids = { runner_id: newId("runner", now), session_id: newId("session", now), tenant_id: newId("tenant", now), workspace_id: more.workspace ?? newId("workspace", now) };
  const directories = layout.directories(ids);
  const { fresh } = await makeDirectories(directories, provider.owner, { "runner.json": JSON.stringify({ script: SCRIPT, view: provider.view(directories), filler: more.filler }) });
  const sandbox = await provider.start({ ...ids, epoch: 1, directories, mounts: more.mounts ?? [], fresh });
  const said = await vi.waitFor(async () => JSON.parse(await readFile(join(directories.state, "said"), "utf8")) as Record<string, unknown>, WAIT);
  return { ids, directories, sandbox, said, warm: String(said["mark"]).startsWith("warm-") };
}
const ready = () => vi.waitFor(() => expect(provider.ready).toBe(1), WAIT);

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "mrn-warm-"));
  layout = new Layout(join(root, "data"));
  await layout.make();
  await cp(join(import.meta.dirname, "../../test/support/scripted-runner.mjs"), join(root, "bundle/runner.js"));
  await writeFile(join(root, "bundle/package.json"), '{ "type": "module" }');
  await chmod(join(root, "bundle"), 0o755);
  provider = new ProcessProvider({
    config: parseConfig("").providers, runners: layout.runners, warm: layout.warm, dataId: "x", hostId: () => null, bundle: join(root, "bundle"), cache: null, env: process.env,
    log: logger({ level: "error", pretty: true, write: () => {} }),
  });
  await provider.probe();
});
afterEach(async () => {
  for (const runner of await readdir(layout.runners)) await provider.destroy(runner);
  await provider.close();
  await rm(root, { recursive: true, force: true, maxRetries: 10 });
});

describe.skipIf(!bubblewrap)("sandboxes that wait to be used", () => {
  it("become a new session's own, with its workspace, state and file", async () => {
    provider.prepare();
    await ready();
    const { said, warm, directories, ids } = await begin();
    expect(warm).toBe(true);
    expect(said).toMatchObject({ stdin: "", home: [], spec: expect.any(Number) as number });
    expect(await readFile(join(directories.workspace, "made"), "utf8")).toBe("here");
    expect(await readdir(directories.record)).toEqual(expect.arrayContaining(["output.log", "process.json", "state", "status"]));
    expect(await provider.adopt()).toMatchObject([{ runner_id: ids.runner_id }]);
    expect(await provider.destroy(ids.runner_id)).toBe(true);
    expect(await marked(`MARIONETTE_RUNNER_ID=${String(said["mark"])}`)).toEqual([]);
  });

  it("are replaced after each that is taken", async () => {
    provider.prepare();
    await ready();
    const first = await begin();
    await ready();
    const second = await begin();
    expect([first.warm, second.warm]).toEqual([true, true]);
    expect(first.said["mark"]).not.toBe(second.said["mark"]);
  });

  it("are not used for a workspace that others may have open", async () => {
    provider.prepare();
    await ready();
    const first = await begin();
    await ready();
    const second = await begin({ workspace: first.ids.workspace_id });
    expect(second.warm).toBe(false);
    expect(await readFile(join(second.directories.workspace, "made"), "utf8")).toBe("here");
  });

  it("are not used for an agent that must be shown more, until those are ready too", async () => {
    provider.prepare();
    await ready();
    const mounts = [{ source: join(root, "bundle"), target: join(root, "bundle") }, { source: root, target: "/srv/agent" }];
    expect((await begin({ mounts })).warm).toBe(false);
    await vi.waitFor(async () => expect((await begin({ mounts })).warm).toBe(true), WAIT);
  });

  it("are not used for a file that a pipe cannot hold", async () => {
    provider.prepare();
    await ready();
    expect((await begin({ filler: "x".repeat(40_000) })).warm).toBe(false);
  });

  it("end with the provider, and leave nothing", async () => {
    provider.prepare();
    await ready();
    const [waiting] = await readdir(layout.warm);
    await provider.close();
    expect(await marked(`MARIONETTE_RUNNER_ID=${waiting}`)).toEqual([]);
    expect(await readdir(layout.warm)).toEqual([]);
  });
});
