import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WorkspaceError } from "./contracts.ts";
import { sandboxContract } from "./contract.ts";
import { createLocalSandboxProvider } from "./local.ts";

sandboxContract("local", {
  async make() {
    const directory = await mkdtemp(join(tmpdir(), "marco-local-"));
    const make = () => createLocalSandboxProvider({ directory });
    return { provider: make(), again: make, end: () => rm(directory, { recursive: true, force: true }) };
  },
});

describe("a local sandbox against someone who swaps links", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "marco-race-"));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it("never reads, writes or deletes outside", async () => {
    const provider = createLocalSandboxProvider({ directory });
    const { workspace } = await provider.materialize("race");
    const outside = join(directory, "outside");
    await mkdir(outside);
    await writeFile(join(outside, "file"), "secret");
    await mkdir(join(workspace.root, "real"));
    await writeFile(join(workspace.root, "real/file"), "mine");
    // A program swaps `d` between a directory of the workspace and a link to the one outside, as fast as it can.
    const swap = `const fs=require("fs");process.chdir(${JSON.stringify(workspace.root)});fs.symlinkSync(${JSON.stringify(outside)},"l");fs.symlinkSync("real","m");
      for(;;){try{fs.renameSync("l","d");fs.symlinkSync(${JSON.stringify(outside)},"l");fs.renameSync("m","d");fs.symlinkSync("real","m");}catch{}}`;
    const swapper = spawn(process.execPath, ["-e", swap], { stdio: "ignore" });
    let refused = 0;
    let done = 0;
    try {
      for (let i = 0; i < 1_500; i++) {
        try {
          const { bytes } = await workspace.read("d/file");
          expect(Buffer.from(bytes).toString()).not.toBe("secret");
          await workspace.write(`d/new-${i}`, "x");
          await workspace.write(`d/sub-${i}/deep`, "x");
          await workspace.delete(`d/new-${i}`);
          done++;
        } catch (error) {
          if (!(error instanceof WorkspaceError)) throw error;
          refused++;
        }
      }
    } finally {
      swapper.kill("SIGKILL");
    }
    const { readdir } = await import("node:fs/promises");
    expect(await readdir(outside)).toEqual(["file"]);
    expect(await readFile(join(outside, "file"), "utf8")).toBe("secret");
    expect(refused + done).toBe(1_500);
    await provider.destroy("race");
  });

  it("uses a workspace that is there, and leaves it", async () => {
    const own = join(directory, "own");
    await mkdir(own);
    await writeFile(join(own, "a"), "theirs");
    await rename(own, `${own}-real`);
    await symlink(`${own}-real`, own);
    const provider = createLocalSandboxProvider({ directory: join(directory, "state"), workspace: own });
    const { workspace, fresh } = await provider.materialize("session");
    expect(fresh).toBe(false);
    expect(Buffer.from((await workspace.read(join(own, "a"))).bytes).toString()).toBe("theirs");
    await provider.destroy("session");
    expect(await readFile(join(own, "a"), "utf8")).toBe("theirs");
  });

  it("gives commands no variable that it was not told of", async () => {
    process.env["MARCO_TEST_KEY"] = "k";
    const provider = createLocalSandboxProvider({ directory, env: { GIVEN: "yes" } });
    const { workspace } = await provider.materialize("env");
    let out = "";
    for await (const event of workspace.exec("env")) if (event.type === "output") out += Buffer.from(event.bytes).toString();
    delete process.env["MARCO_TEST_KEY"];
    expect(out).toContain("GIVEN=yes");
    expect(out).not.toContain("MARCO_TEST_KEY");
    await provider.destroy("env");
  });
});
