/** Owns what every sandbox provider must do; each provider's test calls it, and names what it cannot do in words. */

import { randomBytes } from "node:crypto";
import { copyFile, chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { Layout, makeDirectories } from "../../agent/daemon/layout.ts";
import { logger } from "../../agent/daemon/log.ts";
import { parseConfig } from "../../agent/config/file.ts";
import type { ProviderContext } from "../../agent/providers/context.ts";
import type { Provider, RunningSandbox, SandboxDirectories } from "../../agent/providers/provider.ts";
import { newId } from "../../sdk/protocol/index.ts";
import { suspensionConformance } from "./provider-suspension.ts";

export interface ProviderCase {
  name: string;
  make: (context: ProviderContext) => Provider;
  /** The `providers` part of a marionette.yaml. */
  config?: string;
  /** Test → why this provider deviates from it. */
  deviations?: Readonly<Record<string, string>>;
  /** Why nothing can run here at all; null where it can. */
  unavailable: string | null;
}

const WAIT = { timeout: 10_000, interval: 20 };

export interface Started extends RunningSandbox {
  directories: SandboxDirectories;
}
export interface BeginOptions {
  workspace?: string;
  session?: string;
  runner?: string;
  saved?: boolean;
  with?: Provider;
}

/** Runs the suite. Every sandbox runs a script that the test hands it in runner.json. */
export function providerConformance({ name, make, config, deviations = {}, unavailable }: ProviderCase): void {
  describe.skipIf(unavailable !== null)(`provider ${name}${unavailable === null ? "" : `: ${unavailable}`}`, () => {
    let root: string;
    let layout: Layout;
    let context: ProviderContext;
    let provider: Provider;
    const started: { provider: Provider; id: string }[] = [];

    beforeAll(async () => {
      root = await mkdtemp(join(tmpdir(), "mrn-"));
      layout = new Layout(join(root, "data"));
      await layout.make();
      const bundle = join(root, "bundle");
      await mkdir(bundle, { mode: 0o755 });
      await copyFile(join(import.meta.dirname, "../support/scripted-runner.mjs"), join(bundle, "runner.js"));
      await writeFile(join(bundle, "package.json"), '{ "type": "module" }');
      await chmod(join(bundle, "runner.js"), 0o644);
      context = {
        config: parseConfig(config ?? "").providers, runners: layout.runners, warm: layout.warm, dataId: randomBytes(8).toString("hex"), hostId: () => newId("host", Date.now()),
        bundle, cache: null, env: process.env, log: logger({ level: "error", pretty: true, write: () => {} }),
      };
      provider = make(context);
      expect(await provider.probe()).toMatchObject({ available: true });
      provider.prepare?.();
    });
    afterEach(async () => {
      await Promise.all(started.splice(0).map(({ provider, id }) => provider.destroy(id)));
    });
    afterAll(async () => {
      await provider.close();
      await rm(root, { recursive: true, force: true, maxRetries: 10 });
    });

    const check = (title: string, run: () => Promise<void>, timeout = 60_000) => {
      const why = deviations[title];
      it.skipIf(why !== undefined)(why === undefined ? title : `${title}: ${why}`, run, timeout);
    };

    const begin = async (script: string, options: BeginOptions = {}): Promise<Started> => {
      const now = Date.now();
      const by = options.with ?? provider;
      const ids = { runner_id: options.runner ?? newId("runner", now), session_id: options.session ?? newId("session", now), tenant_id: newId("tenant", now), workspace_id: options.workspace ?? newId("workspace", now) };
      const directories = layout.directories(ids);
      const view = by.view(directories);
      const { fresh } = await makeDirectories(directories, by.owner, { "runner.json": JSON.stringify({ script, view }) });
      started.push({ provider: by, id: ids.runner_id });
      const sandbox = await by.start({ ...ids, epoch: 1, directories, mounts: [], fresh, saved: options.saved ?? false });
      return { ...sandbox, directories };
    };
    /** Runs the script to its end; what it wrote to `said` comes back. */
    const run = async (script: string, options: BeginOptions = {}) => {
      const sandbox = await begin(`const say = (value) => require("node:fs").writeFileSync(spec.view.state + "/said", JSON.stringify(value));\n${script}`, options);
      const exit = await sandbox.exited;
      const said = await readFile(join(sandbox.directories.state, "said"), "utf8").catch(() => "null");
      return { ...sandbox, exit, said: JSON.parse(said) as unknown };
    };
    /** What a sandbox has written to a file of its state, once there is something in it. */
    const said = (directories: SandboxDirectories, file: string) =>
      vi.waitFor(async () => {
        const text = await readFile(join(directories.state, file), "utf8");
        expect(text).not.toBe("");
        return text;
      }, WAIT);

    check("starts a runner with its state, workspace and home writable", async () => {
      const { exit, said, directories, runner_id } = await run(`
        const fs = require("node:fs");
        fs.writeFileSync(spec.view.workspace + "/made", "by the agent");
        fs.writeFileSync(process.env.HOME + "/kept", "x");
        say({ home: process.env.HOME === spec.view.home });`);
      expect({ code: exit.code, output: await provider.output(runner_id, 500) }).toEqual({ code: 0, output: "" });
      expect(said).toEqual({ home: true });
      expect(await readFile(join(directories.workspace, "made"), "utf8")).toBe("by the agent");
      expect(await readFile(join(directories.home, "kept"), "utf8")).toBe("x");
    });

    check("gives nothing on stdin, which is at its end", async () => {
      const { said } = await run(`say({ stdin })`);
      expect(said).toEqual({ stdin: "" });
    });

    check("passes nothing of the daemon's environment that it need not", async () => {
      vi.stubEnv("MARIONETTE_RUNNER_TOKEN", "rtok_secret");
      const { said } = await run(`say(Object.keys(process.env))`);
      vi.unstubAllEnvs();
      expect(said).not.toContain("MARIONETTE_RUNNER_TOKEN");
      expect(said).toContain("PATH");
    });

    check("tells the exit code and keeps the runner's last words", async () => {
      const { exit, runner_id } = await run(`console.error("something broke"); process.exitCode = 7;`);
      expect(exit.code).toBe(7);
      expect(await provider.output(runner_id, 200)).toContain("something broke");
      expect((await provider.output(runner_id, 5)).length).toBeLessThanOrEqual(5);
    });

    check("tells of a runner that kills itself", async () => {
      const { exit } = await run(`process.kill(process.pid, "SIGKILL"); await forever();`);
      expect(exit.signal === "SIGKILL" || exit.code === 137).toBe(true);
    });

    check("ends a runner with all that it has forked", async () => {
      // Each in a session of its own, deaf to polite signals, writing that it lives.
      const child = `process.on("SIGTERM", () => {}); setInterval(() => require("node:fs").appendFileSync(process.argv[1], "x"), 20)`;
      const sandbox = await begin(`
        const { spawn } = require("node:child_process");
        // The last one has nothing of its parent's environment, either.
        for (const name of ["a", "b", "c"]) spawn(process.execPath, ["-e", ${JSON.stringify(child)}, spec.view.state + "/" + name], { detached: true, stdio: "ignore", ...(name === "c" && { env: {} }) }).unref();
        await forever();`);
      for (const file of ["a", "b", "c"]) await said(sandbox.directories, file);
      expect(await provider.destroy(sandbox.runner_id)).toBe(true);
      await sandbox.exited;
      const before = await Promise.all(["a", "b", "c"].map((file) => readFile(join(sandbox.directories.state, file), "utf8")));
      // A living child would have written dozens of times before another sandbox has started and ended.
      await run("say(1)");
      expect(await Promise.all(["a", "b", "c"].map((file) => readFile(join(sandbox.directories.state, file), "utf8")))).toEqual(before);
    });

    check("leaves nothing of a dead runner's children when it is started again", async () => {
      const child = `setInterval(() => require("node:fs").appendFileSync(process.argv[1], "x"), 20)`;
      const first = await run(`
        require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(child)}, spec.view.state + "/left"], { detached: true, stdio: "ignore" }).unref();
        while (!require("node:fs").existsSync(spec.view.state + "/left")) await new Promise((r) => setTimeout(r, 10));
        process.exitCode = 1;`);
      const again = { runner: first.runner_id, session: first.session_id };
      await begin(`require("node:fs").writeFileSync(spec.view.state + "/size", String(require("node:fs").statSync(spec.view.state + "/left").size)); await forever();`, again);
      const size = Number(await said(first.directories, "size"));
      await run("say(1)");
      expect((await readFile(join(first.directories.state, "left"))).length).toBe(size);
    });

    check("is asked to stop and stops in order", async () => {
      const sandbox = await begin(`process.on("SIGTERM", () => process.exit(0)); require("node:fs").writeFileSync(spec.view.state + "/up", "up"); await forever();`);
      await said(sandbox.directories, "up");
      expect(await provider.stop(sandbox.runner_id, 20)).toBe(true);
      expect((await sandbox.exited).code).toBe(0);
    });

    check("says when a runner does not stop", async () => {
      const sandbox = await begin(`process.on("SIGTERM", () => {}); require("node:fs").writeFileSync(spec.view.state + "/up", "up"); await forever();`);
      await said(sandbox.directories, "up");
      expect(await provider.stop(sandbox.runner_id, 0.2)).toBe(false);
      expect(await provider.destroy(sandbox.runner_id)).toBe(true);
    });

    check("destroys any number of times, and what it does not know", async () => {
      const sandbox = await begin("await forever();");
      expect(await provider.destroy(sandbox.runner_id)).toBe(true);
      expect(await provider.destroy(sandbox.runner_id)).toBe(false);
      expect(await provider.destroy(newId("runner", Date.now()))).toBe(false);
    });

    check("takes up what runs after the daemon's own restart", async () => {
      const sandbox = await begin(`while (!require("node:fs").existsSync(spec.view.state + "/end")) await new Promise((r) => setTimeout(r, 20)); process.exitCode = 3;`);
      const next = make(context);
      await next.probe();
      const adopted = (await next.adopt()).find(({ runner_id }) => runner_id === sandbox.runner_id);
      expect(adopted).toMatchObject({ session_id: sandbox.session_id, epoch: 1 });
      await writeFile(join(sandbox.directories.state, "end"), "");
      const exit = await adopted?.exited;
      // A plain process is nobody's child then: its end is seen, its code is not.
      expect([3, null]).toContain(exit?.code);
      await next.close();
    });

    check("does not take up what has ended, nor another directory's sandboxes", async () => {
      const { runner_id } = await run("say(1)");
      const running = await begin("await forever();");
      const other = make({ ...context, runners: join(root, "elsewhere"), dataId: "0123456789abcdef" });
      await other.probe();
      expect(await other.adopt()).toEqual([]);
      await other.close();
      const ids = (await provider.adopt()).map((sandbox) => sandbox.runner_id);
      expect(ids).toContain(running.runner_id);
      expect(ids).not.toContain(runner_id);
    });

    check("ends what it took up", async () => {
      const sandbox = await begin("await forever();");
      const next = make(context);
      await next.probe();
      await next.adopt();
      expect(await next.destroy(sandbox.runner_id)).toBe(true);
      await sandbox.exited;
      await next.close();
    });

    check("keeps the workspace from one runner to the next", async () => {
      const workspace = newId("workspace", Date.now());
      await run(`require("node:fs").writeFileSync(spec.view.workspace + "/kept", "first")`, { workspace });
      const { said } = await run(`say(require("node:fs").readFileSync(spec.view.workspace + "/kept", "utf8"))`, { workspace });
      expect(said).toBe("first");
    });

    check("runs many at once", async () => {
      const all = await Promise.all(Array.from({ length: 4 }, (_, index) => run(`say(${index})`)));
      expect(all.map(({ said }) => said)).toEqual([0, 1, 2, 3]);
    });

    suspensionConformance({ check, begin, run, said, make: () => make(context), provider: () => provider });

    describe("isolation", () => {
      const attempt = `const fs = require("node:fs"); const attempt = (work) => { try { return work() ?? "did"; } catch (error) { return error.code ?? error.message; } };`;

      check("does not show the daemon's data, nor other sessions' files", async () => {
        const other = await begin(`require("node:fs").writeFileSync(spec.view.workspace + "/theirs", "secret"); await forever();`);
        const { said } = await run(`${attempt} say([${JSON.stringify(layout.root)}, ${JSON.stringify(layout.dataId)}, ${JSON.stringify(other.directories.workspace)}, ${JSON.stringify(other.directories.state)}, "/root/.ssh"].map((path) => attempt(() => fs.readdirSync(path))))`);
        for (const answer of said as unknown[]) expect(["ENOENT", "EACCES", "ENOTDIR"]).toContain(answer);
      });

      check("does not show other processes", async () => {
        const { said } = await run(`say(require("node:fs").readdirSync("/proc").filter((name) => /^\\d+$/.test(name)).length)`);
        expect(said).toBeLessThan(10);
      });

      check("runs as an ordinary user without capabilities", async () => {
        const { said } = await run(`const text = require("node:fs").readFileSync("/proc/self/status", "utf8"); say({ uid: process.getuid(), caps: /CapEff:\\s*(\\w+)/.exec(text)[1], privs: /NoNewPrivs:\\s*(\\d)/.exec(text)[1] })`);
        expect(said).toEqual({ uid: expect.any(Number) as number, caps: "0000000000000000", privs: "1" });
        expect((said as { uid: number }).uid).not.toBe(0);
      });

      check("writes nowhere but in its own directories and temporary ones", async () => {
        const { said } = await run(`${attempt} say(["/x", "/etc/x", "/usr/x", "/opt/x", "/home/x", "/run/x", "/var/x", "/root/x"].map((path) => attempt(() => fs.writeFileSync(path, "x"))).concat(attempt(() => fs.writeFileSync("/tmp/x", "x"))))`);
        const answers = said as string[];
        expect(answers.pop()).toBe("did");
        for (const answer of answers) expect(["EROFS", "EACCES", "EPERM", "ENOENT"]).toContain(answer);
      });

      check("cannot read the host's password hashes", async () => {
        const { said } = await run(`${attempt} say(attempt(() => fs.readFileSync("/etc/shadow", "utf8").includes("root:")))`);
        expect(["ENOENT", "EACCES", false]).toContain(said);
      });
    });

    describe("limits", () => {
      check("stops a fork bomb at the limit of processes", async () => {
        const { said } = await run(`
          const { spawn } = require("node:child_process");
          let failed = null;
          for (let i = 0; i < 700 && failed === null; i++) await new Promise((done) => { const child = spawn("sleep", ["60"], { stdio: "ignore" }); child.on("error", (error) => { failed = error.code; done(); }); child.on("spawn", done); });
          say(failed);
          process.exit(0);`);
        expect(said).toBe("EAGAIN");
      });

      check("ends what goes over its memory and says so", async () => {
        const { exit } = await run(`const all = []; for (;;) all.push(Buffer.alloc(16 * 1048576, 1));`);
        expect(exit).toMatchObject({ code: 137, reason: expect.stringContaining("memory") as string });
      });

      check("bounds its temporary files", async () => {
        const { said } = await run(`const fs = require("node:fs"); let error = null; const file = fs.openSync("/tmp/big", "w"); try { for (let i = 0; i < 64; i++) fs.writeSync(file, Buffer.alloc(16 * 1048576)); } catch (fault) { error = fault.code; } say(error)`);
        expect(said).toBe("ENOSPC");
      });
    });
  });
}
