import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { FakeIo } from "../../test/support/fake-io.ts";
import { configPath, projectEndpoint, resolveEndpoint, writeConfig } from "./config.ts";

let io: FakeIo;
beforeEach(() => {
  io = new FakeIo();
});
function keep(contexts: Record<string, { url: string; api_key?: string }>, current?: string): void {
  writeConfig(io, { contexts, current });
}
function localServer(content: object, mode = 0o600, below = "repo"): string {
  const dir = join(io.home, below);
  mkdirSync(join(dir, ".marionette"), { recursive: true });
  mkdirSync(join(dir, "src", "deep"), { recursive: true });
  const path = join(dir, ".marionette", "context.json");
  writeFileSync(path, JSON.stringify(content));
  chmodSync(path, mode);
  return join(dir, "src", "deep");
}
const LOCAL = { url: "http://127.0.0.1:8420", api_key: "mk_local" };

describe("which server and key a command uses", () => {
  it("flags go before the environment, that before contexts, those before the nearest local server", () => {
    keep({ work: { url: "https://work.test", api_key: "mk_work" }, home: { url: "https://home.test", api_key: "mk_home" } }, "work");
    const cwd = localServer(LOCAL);
    const at = (flags: object, env: Record<string, string> = {}) => {
      const { url, apiKey } = resolveEndpoint(flags, { home: io.home, cwd, env });
      return [url, apiKey];
    };
    expect(at({})).toEqual(["https://work.test", "mk_work"]);
    expect(at({}, { MARIONETTE_CONTEXT: "home" })).toEqual(["https://home.test", "mk_home"]);
    expect(at({ context: "work" }, { MARIONETTE_CONTEXT: "home" })).toEqual(["https://work.test", "mk_work"]);
    expect(at({}, { MARIONETTE_API_URL: "https://env.test", MARIONETTE_API_KEY: "mk_env" })).toEqual(["https://env.test", "mk_env"]);
    expect(at({ url: "https://flag.test", apiKey: "mk_flag" }, { MARIONETTE_API_URL: "https://env.test" })).toEqual(["https://flag.test", "mk_flag"]);
    writeConfig(io, { contexts: {} });
    expect(at({})).toEqual([LOCAL.url, LOCAL.api_key]);
  });
  it("a key that is kept for one server is never sent to another", () => {
    keep({ work: { url: "https://work.test", api_key: "mk_work" } }, "work");
    expect(() => resolveEndpoint({ url: "https://evil.test" }, io)).toThrow("No API key for https://evil.test");
    expect(resolveEndpoint({ url: "https://work.test/" }, io).apiKey).toBe("mk_work");
    expect(resolveEndpoint({ apiKey: "mk_other" }, io)).toMatchObject({ url: "https://work.test", apiKey: "mk_other" });
  });
  it("a found file counts only where nobody else could have read or put it there, and for this machine", () => {
    expect(projectEndpoint(localServer(LOCAL))).toMatchObject({ url: LOCAL.url });
    const refused = (why: string) => ({ refused: expect.stringContaining(why) as string });
    expect(projectEndpoint(localServer(LOCAL, 0o644, "cloned"))).toEqual(refused("must be yours"));
    expect(projectEndpoint(localServer({ ...LOCAL, url: "https://evil.test" }, 0o600, "evil"))).toEqual(refused("another machine (evil.test)"));
    expect(projectEndpoint(localServer({ url: "nonsense" }, 0o600, "broken"))).toEqual(refused("no url and api_key"));
    expect(projectEndpoint("/")).toBeNull();
  });
  it("says what to do where there is none, or a context is unknown", () => {
    expect(() => resolveEndpoint({}, io)).toThrow("No server is configured");
    expect(() => resolveEndpoint({ context: "nope" }, io)).toThrow("There is no context 'nope'");
    expect(() => resolveEndpoint({ apiKey: "sk-ant-1" }, io)).toThrow("model provider's");
  });
});

describe("the contexts file", () => {
  it("is made by config set, for its owner's eyes only, and read by the other commands", async () => {
    expect(await io.run("config", "set", "work", "--url", "https://work.test", "--api-key", "mk_secret_key")).toBe(0);
    expect(statSync(configPath(io)).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(configPath(io))).mode & 0o777).toBe(0o700);
    expect(await io.run("config", "set", "home", "--url", "http://localhost:8420")).toBe(0);
    expect(await io.run("config", "list")).toBe(0);
    expect(io.out).toBe("CURRENT  NAME  URL                    KEY\n*        work  https://work.test      mk_secre…\n         home  http://localhost:8420  -\n");
    io.out = "";
    expect(await io.run("config", "view", "-o", "json")).toBe(0);
    expect(JSON.parse(io.out)).toEqual({ url: "https://work.test", api_key: "mk_secre…", source: "context work" });
    expect(await io.run("config", "use", "home")).toBe(0);
    expect(await io.run("config", "set", "work", "--remove")).toBe(0);
    expect(readFileSync(configPath(io), "utf8")).toBe("current: home\ncontexts:\n  home:\n    url: http://localhost:8420\n");
  });
  it("does not carry a key over to another address", async () => {
    await io.run("config", "set", "work", "--url", "https://work.test", "--api-key", "mk_secret_key");
    await io.run("config", "set", "work", "--url", "https://other.test");
    expect(readFileSync(configPath(io), "utf8")).not.toContain("mk_secret_key");
  });
  it("is refused with its path where it is broken", async () => {
    writeConfig(io, { contexts: {} });
    writeFileSync(configPath(io), "contexts:\n  work:\n    url: 5\n");
    expect(await io.run("config", "list")).toBe(1);
    expect(io.err).toContain("config.yaml: contexts.work.url:");
    writeFileSync(configPath(io), "a: [");
    expect(await io.run("sessions", "list")).toBe(1);
    expect(io.err).toContain("is not YAML");
  });
});
