import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { newToken } from "../../sdk/protocol/index.ts";
import { main } from "../main.ts";
import { parseCommand, parseLabels, UsageError } from "./cli.ts";
import { ConfigError, parseConfig } from "./file.ts";
import { serviceFiles } from "./install.ts";

function faults(text: string): readonly string[] {
  try {
    parseConfig(text);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
}

describe("marionette.yaml", () => {
  it("has a default for everything", () => {
    expect(parseConfig("")).toMatchObject({
      providers: { docker: { image: "marionette-runner:latest", network: "bridge", resources: { memory: 4 * 1024 ** 3, cpus: 2, pids: 512 } }, process: { isolation: "auto" } },
      agents: { custom: {} },
      browse_roots: [],
    });
  });

  it("reads sizes, durations and numbers of processors", () => {
    const { providers } = parseConfig(`
providers:
  default: docker
  docker:
    host: unix:///var/run/docker.sock
    resources: { memory: "1.5g", cpus: "0.5", pids: 128 }
    suspend_config: { strategy: pause, fallback: terminate_preserve_storage, min_duration: 60s, max_duration: 24h }
`);
    expect(providers.docker).toMatchObject({ resources: { memory: 1_610_612_736, cpus: 0.5, pids: 128 }, suspend_config: { min_duration: 60, max_duration: 86_400 } });
  });

  it("registers agents by name", () => {
    const { agents } = parseConfig("agents: { custom: { mine: { binary: /srv/mine, args: [--fast], env: { LEVEL: '3' } } } }");
    expect(agents.custom["mine"]).toEqual({ binary: "/srv/mine", args: ["--fast"], env: { LEVEL: "3" }, adapter: "custom" });
  });

  it.each([
    ["providers: { docker: { resources: { memory: 4 } } }", "providers.docker.resources.memory: expected a size like 512m or 4g"],
    ["providers: { docker: { resources: { memory: 4 gigs } } }", "providers.docker.resources.memory: expected a size like 512m or 4g"],
    ["providers: { docker: { resources: { memory: 1m } } }", "providers.docker.resources.memory: expected at least 64m"],
    ["providers: { docker: { resources: { cpus: many } } }", "providers.docker.resources.cpus: expected a number of processors like 2 or 0.5"],
    ["providers: { docker: { resources: { ram: 4g } } }", "providers.docker.resources.ram: unknown key"],
    ["providers: { docker: { suspend_config: { strategy: sleep } } }", "providers.docker.suspend_config.strategy: expected one of pause, snapshot, terminate_preserve_storage, terminate"],
    ["providers: { docker: { suspend_config: { strategy: release_to_pool } } }", "providers.docker.suspend_config.strategy: the docker provider cannot release_to_pool; expected one of pause, snapshot, terminate_preserve_storage, terminate"],
    ["providers: { process: { suspend_config: { strategy: pause, fallback: snapshot } } }", "providers.process.suspend_config.fallback: the process provider cannot snapshot; expected one of pause, terminate_preserve_storage, terminate"],
    ["providers: { process: { suspend_config: { strategy: pause, fallback: pause } } }", "providers.process.suspend_config.fallback: expected another strategy than the one that it stands in for"],
    ["providers: { process: { suspend_config: { strategy: pause, max_duration: 0s } } }", "providers.process.suspend_config.max_duration: expected at least 1s"],
    ["providers: { docker: { suspend_config: { strategy: pause, min_duration: 60 } } }", "providers.docker.suspend_config.min_duration: expected a duration like 60s, 15m or 24h"],
    ["providers: { docker: { suspend_config: { strategy: pause, min_duration: 2h, max_duration: 1h } } }", "providers.docker.suspend_config.max_duration: expected at least min_duration"],
    ["providers: { docker: { dns: [one.one.one.one] } }", "providers.docker.dns.0: expected an IP address"],
    ["providers: { docker: { apparmor_profile: a b } }", "providers.docker.apparmor_profile: expected the name of an AppArmor profile"],
    ["providers: { default: kubernetes }", "providers.default: expected docker or process"],
    ["providers: { docker: { host: /var/run/docker.sock } }", "providers.docker.host: expected unix:///path or tcp://host:port"],
    ["browse_roots: [relative]", "browse_roots.0: expected an absolute path"],
    ["max_runners: 0", "max_runners: expected at least 1"],
    ["agents: { custom: { mine: { args: [] } } }", "agents.custom.mine.binary: Invalid input: expected string, received undefined"],
    ["server: http://x", "server: unknown key"],
  ])("refuses %s with its path", (text, fault) => {
    expect(faults(text)).toEqual([fault]);
  });

  it("tells all faults at once", () => {
    expect(faults("max_runners: 0\nnonsense: 1\nproviders: { docker: { resources: { memory: x } } }")).toHaveLength(3);
  });

  it("refuses what is not YAML, and a key given twice", () => {
    expect(faults("providers: [")).not.toEqual([]);
    expect(faults("max_runners: 1\nmax_runners: 2")).not.toEqual([]);
  });
});

describe("marionette-agent's command line", () => {
  const token = newToken("runner");
  const env = { MARIONETTE_API_URL: "http://127.0.0.1:8420/", MARIONETTE_RUNNER_TOKEN: token };

  it("takes server, token and file from the environment", () => {
    expect(parseCommand([], { ...env, MARIONETTE_CONFIG: "/etc/m.yaml" })).toMatchObject({ kind: "run", options: { server: "http://127.0.0.1:8420", token, pool: "default", config: "/etc/m.yaml", onExit: "keep" } });
  });

  it("lets arguments win over the environment", () => {
    const other = newToken("runner");
    expect(parseCommand(["--server", "https://m.example", "--token", other, "--pool", "gpu", "--labels", "os=linux,gpu=nvidia", "--max-runners", "3", "--on-exit", "stop"], env)).toMatchObject({
      options: { server: "https://m.example", token: other, pool: "gpu", labels: { os: "linux", gpu: "nvidia" }, maxRunners: 3, onExit: "stop" },
    });
  });

  it.each([
    [["--nonsense"], {}, "--nonsense"],
    [[], {}, "no control plane"],
    [["--server", "ftp://x"], env, "expected http(s)://"],
    [[], { MARIONETTE_API_URL: "http://x" }, "no runner token"],
    [["--token", "mk_x"], env, "not a runner token"],
    [["--max-runners", "many"], env, "--max-runners"],
    [["--on-exit", "explode"], env, "--on-exit"],
    [["--labels", "nolabel"], env, "--labels"],
    [["--pool", "a b"], env, "--pool"],
    [["dance"], env, "unknown command 'dance'"],
  ])("refuses %j", (argv, env, message) => {
    expect(() => parseCommand(argv, env)).toThrow(UsageError);
    expect(() => parseCommand(argv, env)).toThrow(message);
  });

  it("never repeats a token that it refuses", () => {
    expect(() => parseCommand(["--token", "rtok_half"], env)).toThrow(expect.objectContaining({ message: expect.not.stringContaining("rtok_half") as string }) as Error);
  });

  it("reads labels with empty values and spaces", () => {
    expect(parseLabels(" a=1 , b= ")).toEqual({ a: "1", b: "" });
  });

  describe("config check", () => {
    let directory: string;
    const out: string[] = [];
    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), "mrn-config-"));
      vi.spyOn(process.stdout, "write").mockImplementation((text) => out.push(String(text)) > 0);
      vi.spyOn(process.stderr, "write").mockImplementation((text) => out.push(String(text)) > 0);
    });
    afterEach(async () => {
      vi.restoreAllMocks();
      out.length = 0;
      await rm(directory, { recursive: true });
    });

    it("says that a good file is good", async () => {
      const file = join(directory, "m.yaml");
      await writeFile(file, "max_runners: 3\n");
      expect(await main(["config", "check", "--config", file], {})).toBe(0);
      expect(out.join("")).toContain("is valid");
    });
    it("names browse roots that are no directories of this machine", async () => {
      const file = join(directory, "m.yaml");
      await writeFile(file, `browse_roots: [${directory}, ${directory}/none, ${file}, /]\n`);
      expect(await main(["config", "check", "--config", file], {})).toBe(1);
      expect(out.join("")).toContain(`browse_roots.1: ${directory}/none: there is no such directory`);
      expect(out.join("")).toContain(`browse_roots.2: ${file}: not a directory`);
      expect(out.join("")).toContain("browse_roots.3: /: the whole file system");
      expect(out.join("")).not.toContain("browse_roots.0");
    });
    it("names the fault of a bad one and does not start", async () => {
      const file = join(directory, "m.yaml");
      await writeFile(file, "max_runers: 3\n");
      expect(await main(["config", "check"], { MARIONETTE_CONFIG: file })).toBe(1);
      expect(out.join("")).toContain("max_runers: unknown key");
    });
    it("names a file that is not there", async () => {
      expect(await main(["config", "check", "--config", join(directory, "none.yaml")], {})).toBe(1);
      expect(out.join("")).toContain("there is no such file");
    });
    it("prints help and version", async () => {
      expect(await main(["--help"], {})).toBe(0);
      expect(await main(["--version"], {})).toBe(0);
      expect(out.join("")).toMatch(/MARIONETTE_RUNNER_TOKEN[^]*\d+\.\d+\.\d+/);
    });
    it("prints a service without its token", async () => {
      expect(await main(["install", "--print"], env)).toBe(0);
      expect(out.join("")).not.toContain(token);
      expect(out.join("")).toContain("ExecStart=");
    });
  });
});

describe("service files", () => {
  const options = { ...(parseCommand(["--labels", "a=b c", "--name", "it's"], { MARIONETTE_API_URL: "https://m.example", MARIONETTE_RUNNER_TOKEN: newToken("runner") }) as { options: Parameters<typeof serviceFiles>[0] }).options };

  it("keeps the token in a file that only its owner reads", () => {
    for (const platform of ["linux", "darwin"] as const) {
      const { files } = serviceFiles(options, { platform, home: "/home/me", root: false, command: ["/usr/bin/node", "/opt/agent.js"] });
      const [environment, service] = files;
      expect(environment).toMatchObject({ mode: 0o600, text: expect.stringContaining(options.token ?? "-") as string });
      expect(service?.text).not.toContain(options.token);
    }
  });
  it("lets runners outlive a restart of the service, and quotes arguments", () => {
    const { files, next } = serviceFiles(options, { platform: "linux", home: "/home/me", root: true, command: ["/usr/bin/node", "/opt/agent.js"] });
    expect(files[1]).toMatchObject({ path: "/etc/systemd/system/marionette-agent.service", text: expect.stringContaining('KillMode=process') as string });
    expect(files[1]?.text).toContain('"a=b c"');
    expect(next).toBe("systemctl daemon-reload && systemctl enable --now marionette-agent");
  });
  it("writes a property list that quotes for XML and shell", () => {
    const { files } = serviceFiles(options, { platform: "darwin", home: "/Users/me", root: false, command: ["/usr/bin/node", "/opt/agent.js"] });
    expect(files[1]?.text).toContain("AbandonProcessGroup");
    expect(files[1]?.text).toContain(`'it'\\''s'`);
  });
  it("refuses where no service manager is known", () => {
    expect(() => serviceFiles(options, { platform: "win32", home: "C:/", root: false, command: ["node", "x"] })).toThrow(UsageError);
  });
});
