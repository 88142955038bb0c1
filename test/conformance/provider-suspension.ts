/** Owns what every sandbox provider must do to suspend a runner: freeze all of it, wake it, save it, and leave nothing frozen behind. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, vi } from "vitest";
import type { Provider, RunningSandbox, SandboxDirectories } from "../../agent/providers/provider.ts";
import { newId } from "../../sdk/protocol/index.ts";
import type { BeginOptions, Started } from "./provider.ts";

const WAIT = { timeout: 10_000, interval: 20 };

export interface SuspensionKit {
  check: (title: string, run: () => Promise<void>) => void;
  /** Starts a sandbox that runs a script. */
  begin: (script: string, options?: BeginOptions) => Promise<Started>;
  /** Runs a script to its end. */
  run: (script: string, options?: BeginOptions) => Promise<RunningSandbox & { said: unknown }>;
  /** What a sandbox has written to a file of its state. */
  said: (directories: SandboxDirectories, file: string) => Promise<string>;
  /** Another one of the same kind, as a daemon makes it that starts again. */
  make: () => Provider;
  provider: () => Provider;
}

export function suspensionConformance({ check, begin, run, said, make, provider }: SuspensionKit): void {
  describe("suspension", () => {
    /** Writes to a file of its state all the time: the runner itself and a child in a session of its own. */
    const TICKS = `
      const { spawn } = require("node:child_process");
      const child = 'setInterval(() => require("node:fs").appendFileSync(process.argv[1], "x"), 5)';
      spawn(process.execPath, ["-e", child, spec.view.state + "/child"], { detached: true, stdio: "ignore", env: {} }).unref();
      setInterval(() => require("node:fs").appendFileSync(spec.view.state + "/own", "x"), 5);
      process.on("SIGCONT", () => require("node:fs").appendFileSync(spec.view.state + "/thawed", "x"));
      process.on("SIGTERM", () => { require("node:fs").writeFileSync(spec.view.state + "/polite", "x"); process.exit(0); });
      await forever();`;
    const sizes = async ({ directories }: Started) => Promise.all(["own", "child"].map(async (file) => (await readFile(join(directories.state, file))).length));
    const ticking = async (sandbox: Started) => {
      const before = await sizes(sandbox).catch(() => [0, 0]);
      await vi.waitFor(async () => {
        const now = await sizes(sandbox);
        expect(now.every((size, index) => size > (before[index] ?? 0))).toBe(true);
      }, WAIT);
    };
    /** Another sandbox has started and ended: what lives would have written dozens of times. */
    const still = async (sandbox: Started) => {
      const before = await sizes(sandbox);
      await run("say(1)");
      expect(await sizes(sandbox)).toEqual(before);
    };
    const ended = (sandbox: Started) => Promise.race([sandbox.exited.then(() => true), run("say(1)").then(() => false)]);

    check("offers what it says it can, and no more", async () => {
      const { strategies, strategy, fallback } = provider().suspend;
      expect(strategies).toEqual(expect.arrayContaining(["terminate_preserve_storage", "terminate"]));
      expect([strategies.includes("pause"), strategies.includes("snapshot")]).toEqual([provider().capabilities.pause, provider().capabilities.snapshot]);
      expect(strategies).toContain(strategy);
      expect(fallback === null || strategies.includes(fallback)).toBe(true);
    });

    check("freezes a sandbox whole, with all that it has forked, any number of times, and lets it go on", async () => {
      const sandbox = await begin(TICKS);
      await ticking(sandbox);
      await provider().freeze(sandbox.runner_id);
      await still(sandbox);
      await provider().freeze(sandbox.runner_id);
      await still(sandbox);
      expect(await provider().thaw(sandbox.runner_id)).toBe(true);
      await ticking(sandbox);
      await said(sandbox.directories, "thawed");
      expect(await provider().thaw(sandbox.runner_id)).toBe(true);
      await ticking(sandbox);
    });

    check("freezes what forks without end", async () => {
      const sandbox = await begin(`
        const { spawn } = require("node:child_process");
        const loop = () => spawn("/bin/sh", ["-c", "echo x >> " + spec.view.state + "/own; echo x >> " + spec.view.state + "/child"], { stdio: "ignore" }).once("exit", loop).once("error", loop);
        for (let i = 0; i < 4; i++) loop();
        await forever();`);
      await ticking(sandbox);
      for (let i = 0; i < 3; i++) {
        await provider().freeze(sandbox.runner_id);
        await still(sandbox);
        await provider().thaw(sandbox.runner_id);
        await ticking(sandbox);
      }
    });

    check("finds a frozen sandbox again after the daemon's own restart, and wakes it", async () => {
      const sandbox = await begin(TICKS);
      await ticking(sandbox);
      await provider().freeze(sandbox.runner_id);
      const next = make();
      await next.probe();
      expect((await next.adopt()).find(({ runner_id }) => runner_id === sandbox.runner_id)).toMatchObject({ frozen: true });
      await still(sandbox);
      expect(await next.thaw(sandbox.runner_id)).toBe(true);
      await ticking(sandbox);
      expect((await next.adopt()).find(({ runner_id }) => runner_id === sandbox.runner_id)?.frozen).not.toBe(true);
      await next.close();
    });

    check("destroys a frozen sandbox, of which nothing runs again", async () => {
      const sandbox = await begin(TICKS);
      await ticking(sandbox);
      await provider().freeze(sandbox.runner_id);
      const before = await sizes(sandbox);
      expect(await provider().destroy(sandbox.runner_id)).toBe(true);
      await sandbox.exited;
      expect(await sizes(sandbox)).toEqual(before);
      expect(await provider().destroy(sandbox.runner_id)).toBe(false);
    });

    check("stops the runner of a frozen sandbox in order, while its agents do nothing any more", async () => {
      const sandbox = await begin(TICKS);
      await ticking(sandbox);
      await provider().freeze(sandbox.runner_id);
      const [, child] = await sizes(sandbox);
      expect(await provider().stop(sandbox.runner_id, 20)).toBe(true);
      expect((await sandbox.exited).code).toBe(0);
      await said(sandbox.directories, "polite");
      expect((await sizes(sandbox))[1]).toBe(child);
    });

    check("has nothing to freeze or thaw where there is no runner", async () => {
      const { runner_id } = await run("say(1)");
      await provider().destroy(runner_id);
      await expect(provider().freeze(runner_id)).rejects.toMatchObject({ name: "ProviderError" });
      expect(await provider().thaw(runner_id)).toBe(false);
    });

    check("saves a sandbox, says what is lost, and starts it again", async () => {
      const ids = { runner: newId("runner", Date.now()), session: newId("session", Date.now()), workspace: newId("workspace", Date.now()) };
      const sandbox = await begin(`require("node:fs").writeFileSync(spec.view.workspace + "/kept", "before"); require("node:fs").writeFileSync(spec.view.state + "/up", "up"); process.on("SIGTERM", () => process.exit(0)); await forever();`, ids);
      await said(sandbox.directories, "up");
      expect(await provider().save(sandbox.runner_id, 10)).toMatch(/memory.*lost/);
      expect(await ended(sandbox)).toBe(true);
      const next = make();
      await next.probe();
      expect((await next.adopt()).map(({ runner_id }) => runner_id)).not.toContain(sandbox.runner_id);
      await next.close();
      const again = await run(`say(require("node:fs").readFileSync(spec.view.workspace + "/kept", "utf8"))`, { ...ids, saved: true });
      expect(again.said).toBe("before");
      expect(await provider().destroy(sandbox.runner_id)).toBe(true);
      expect(await provider().destroy(sandbox.runner_id)).toBe(false);
    });

    check("freezes a saved one no more, and saves a frozen one", async () => {
      const sandbox = await begin(TICKS);
      await ticking(sandbox);
      await provider().freeze(sandbox.runner_id);
      await provider().save(sandbox.runner_id, 10);
      await said(sandbox.directories, "polite");
      await expect(provider().freeze(sandbox.runner_id)).rejects.toMatchObject({ name: "ProviderError" });
    });
  });
}
