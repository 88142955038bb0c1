import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openData, type DataDirectory } from "./data.ts";

describe("the data directory", () => {
  let parent: string;
  let data: DataDirectory;
  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), "data-"));
    data = await openData(join(parent, ".marionette"));
  });
  afterEach(() => rm(parent, { recursive: true, force: true }));
  const mode = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);

  it("makes its secrets once", async () => {
    const first = await data.secrets();
    expect(await (await openData(data.root)).secrets()).toEqual(first);
    expect(first).toMatchObject({ tenant_id: null, runner_token: null });
  });

  it("lets nobody but its owner read them", async () => {
    await data.secrets();
    await data.saveContext({ url: "http://127.0.0.1:8420", api_key: "mk_x" });
    expect(await mode(data.root)).toBe("700");
    expect(await mode(join(data.root, "local.json"))).toBe("600");
    expect(await mode(data.contextFile)).toBe("600");
    expect(await data.context()).toEqual({ url: "http://127.0.0.1:8420", api_key: "mk_x" });
  });

  it("names a damaged file instead of making new secrets over it", async () => {
    await writeFile(join(data.root, "local.json"), "{");
    await expect(data.secrets()).rejects.toThrow(/local\.json is damaged/);
  });

  it("forgets what ran once nothing runs", async () => {
    await data.saveRunning({ url: "http://127.0.0.1:1", processes: [{ what: "host", pid: 1, started: "x" }] });
    expect((await data.running())?.processes).toHaveLength(1);
    await data.saveRunning(null);
    expect(await data.running()).toBeNull();
  });
});
