import { mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import type { RunError } from "../../sdk/protocol/index.ts";
import { inProcess, runnerDirectories, specFor } from "../../test/support/runner-stage.ts";
import { SessionServer } from "../../test/support/session-server.ts";
import { measureInThread } from "../workspace/thread.ts";
import { QuotaWatch } from "./quota.ts";
import { createRunner } from "./runner.ts";

const MIB = 1_048_576;

describe("a workspace's quota", () => {
  it("is held by what a sync would keep: neither holes nor what is ignored count, and the largest are named", async () => {
    using directories = runnerDirectories();
    const at = (name: string) => join(directories.workspace, name);
    mkdirSync(at("ignored"));
    writeFileSync(at(".marionetteignore"), "ignored/\n");
    writeFileSync(at("ignored/a"), Buffer.alloc(MIB));
    writeFileSync(at("sparse"), "");
    truncateSync(at("sparse"), 100 * MIB);
    writeFileSync(at("small"), Buffer.alloc(1_000, 1));
    writeFileSync(at("large"), Buffer.alloc(MIB, 1));
    const measured = await measureInThread({ root: directories.workspace });
    expect(measured).toMatchObject({ files: 4, largest: [["large", MIB], ["small", 1_000], [".marionetteignore", 9], ["sparse", 0]] });
    expect(measured.bytes).toBe(MIB + 1_009);
    await expect(measureInThread({ root: join(directories.root, "nowhere") })).rejects.toThrow(/cannot be read/);
  });

  it("lets an agent tidy up what was there before, and have no more than that; a measurement that fails says nothing", async () => {
    const sizes: (number | Error)[] = [50, 40, new Error("away"), 40, 20, 30];
    const seen: string[] = [];
    const watch = new QuotaWatch({
      bytes: 10, firstMs: 1, log: (line) => void seen.push(line),
      measure: async () => {
        const size = sizes.shift() ?? 0;
        if (size instanceof Error) throw size;
        return { bytes: size, files: 1, largest: [["all", size]] };
      },
    });
    const error = await new Promise<RunError>((over) => void watch.begin(over));
    expect([error.code, error.message, sizes]).toEqual(["quota_exceeded", expect.stringContaining("30 bytes, its quota is 10"), []]);
    expect(seen).toEqual([expect.stringContaining("away")]);
    const over = vi.fn();
    const ends = await watch.begin(over);
    ends();
    expect(over).not.toHaveBeenCalled();
  });

  it("ends the run that goes beyond it while its agent works, and leaves all files where they are", async () => {
    using directories = runnerDirectories();
    const server = await SessionServer.start();
    const path = join(directories.workspace, "heap");
    const agent = inProcess(async ({ interrupt, task }) => {
      if (task.prompt === "tidy") return rmSync(path);
      writeFileSync(path, Buffer.alloc(2 * MIB, 1));
      await new Promise<void>((resolve) => interrupt.addEventListener("abort", () => resolve(), { once: true }));
    });
    const runner = await createRunner({ spec: specFor(server, directories, { workspace_quota_mb: 1 }), adapter: agent });
    try {
      const { run_id } = server.task("fill");
      expect(await server.until("it is ended", () => server.of("run.status", run_id).find(({ status }) => status !== "running"), 50_000)).toMatchObject({ status: "failed", error: { code: "quota_exceeded", message: expect.stringContaining("heap (2097152)") } });
      expect((await measureInThread({ root: directories.workspace })).bytes).toBe(2 * MIB);
      // It may be gone on with, to delete what is too much.
      expect(await server.ended(server.task("tidy").run_id)).toMatchObject({ status: "completed" });
    } finally {
      runner.kill();
      await server.stop();
    }
  });
});
