import { chmod, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { agentNames, agentReport, findAgent, unknownHint, which, type AgentHost } from "./agents.ts";

let root: string;
const view = { node: "/usr/bin/node", bundle: "/bundle" };
const program = async (path: string, mode = 0o755) => {
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, "#!/bin/sh\n");
  await chmod(path, mode);
};
const host = (custom: AgentHost["custom"] = {}): AgentHost => ({ custom, path: `${join(root, "empty")}:${join(root, "bin")}`, hidden: [join(root, "data")] });
const custom = (binary: string, args: string[] = []) => ({ mine: { binary, args, env: {}, adapter: "custom" as const } });

beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), "mrn-agents-")));
  await program(join(root, "bin/plain"));
  await program(join(root, "bin/not-executable"), 0o644);
  await program(join(root, "lib/node_modules/@x/agent/cli.js"));
  await symlink("../lib/node_modules/@x/agent/cli.js", join(root, "bin/packaged"));
  await program(join(root, "loose"));
  await mkdir(join(root, "data"));
  await writeFile(join(root, "lib/settings.json"), "{}");
});
afterAll(() => rm(root, { recursive: true }));

describe("looking up agents", () => {
  it("finds a program on the path as a shell would", async () => {
    const { path } = host();
    expect(await which("plain", path)).toBe(join(root, "bin/plain"));
    expect(await which(join(root, "loose"), path)).toBe(join(root, "loose"));
    expect(await which("not-executable", path)).toBeNull();
    expect(await which("bin", root)).toBeNull();
  });
  it("shows the directory of a plain program", async () => {
    expect(await findAgent("mine", host(custom("plain")), view)).toMatchObject({ binary: { path: join(root, "bin/plain"), shown: join(root, "bin") } });
  });
  it("shows the whole package tree of a packaged one", async () => {
    expect(await findAgent("mine", host(custom("packaged")), view)).toMatchObject({ binary: { shown: join(root, "bin"), realShown: join(root, "lib/node_modules") } });
  });
  it("shows the file alone where its directory holds what must stay hidden", async () => {
    expect(await findAgent("mine", host(custom(join(root, "loose"))), view)).toMatchObject({ binary: { shown: join(root, "loose") } });
  });
  it("shows files that arguments name, and only files", async () => {
    const found = await findAgent("mine", host(custom("plain", [join(root, "lib/settings.json"), "/", join(root, "none"), "--flag"])), view);
    expect(found?.files).toMatchObject([{ path: join(root, "lib/settings.json"), shown: join(root, "lib") }]);
  });
  it("knows the built-in agents, and lets a registered one take a built-in's name", async () => {
    expect(agentNames(host())).toEqual(expect.arrayContaining(["claude", "codex", "example", "gemini"]));
    expect(await findAgent("claude", host({ claude: { binary: "plain", args: ["a"], env: {}, adapter: "acp" } }), view)).toMatchObject({ launch: { adapter: "acp", args: ["a"] } });
  });
  it("starts the bundled agents with the sandbox's own Node", async () => {
    expect(await findAgent("example", host(), view)).toMatchObject({ launch: { adapter: "custom", binary: "/usr/bin/node", args: ["/bundle/example.js"] } });
    expect(await findAgent("marco", host(), view)).toMatchObject({ launch: { adapter: "marco", binary: "/usr/bin/node", args: ["/bundle/marco.js"] } });
    expect((await agentReport(host(), view)).find(({ name }) => name === "marco")).toEqual({ name: "marco", available: true, detail: "bundled" });
    expect(await findAgent("marco", host({ marco: { binary: "plain", args: [], env: {}, adapter: "acp" } }), view)).toMatchObject({ launch: { adapter: "acp" } });
  });
  it("does not take a prototype's property for an agent", async () => {
    expect(await findAgent("constructor", host(), view)).toBeNull();
    expect(await findAgent("__proto__", host(), view)).toBeNull();
  });
  it("reports what is missing with how to get it", async () => {
    const report = await agentReport(host(custom("no-such-program")), view);
    expect(report.find(({ name }) => name === "claude")).toEqual({ name: "claude", available: false, detail: "claude was not found on this host: npm install -g @anthropic-ai/claude-code" });
    expect(report.find(({ name }) => name === "mine")?.detail).toContain("agents.custom.mine.binary");
    expect(unknownHint("nobody", host())).toMatch(/claude.*'nobody'.*agents\.custom/);
  });
});
