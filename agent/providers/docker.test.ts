import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { chmod, cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newId } from "../../sdk/protocol/index.ts";
import { providerConformance } from "../../test/conformance/provider.ts";
import { parseConfig } from "../config/file.ts";
import { openRelay } from "../daemon/relay.ts";
import { Layout, makeDirectories } from "../daemon/layout.ts";
import { logger } from "../daemon/log.ts";
import type { ProviderContext } from "./context.ts";
import { containerOptions } from "./docker-options.ts";
import { DockerProvider } from "./docker.ts";
import type { FoundAgent, Provider } from "./provider.ts";

const engine = new Docker();
const unavailable = await engine.ping().then(
  () => engine.getImage("marionette-runner:latest").inspect().then(() => null, () => "the image marionette-runner:latest is missing (npm run image)"),
  () => "no Docker engine answers (Debian, Ubuntu: apt-get install docker.io)",
);

providerConformance({
  name: "docker",
  make: (context) => new DockerProvider(context),
  config: "providers: { docker: { resources: { memory: 256m, cpus: 1, pids: 256, tmp: 64m } } }",
  unavailable,
});

function contextOf(config: string, root = "/nowhere"): ProviderContext {
  return {
    config: parseConfig(config).providers, runners: join(root, "data/runners"), warm: join(root, "data/warm"), dataId: "0123456789abcdef", hostId: () => null, bundle: join(root, "bundle"), cache: null,
    env: {}, log: logger({ level: "error", pretty: true, write: () => {} }),
  };
}

describe("docker provider without an engine or an image", () => {
  const request = (provider: Provider) => {
    const ids = { runner_id: newId("runner", Date.now()), session_id: newId("session", Date.now()), tenant_id: newId("tenant", Date.now()), workspace_id: newId("workspace", Date.now()) };
    return provider.start({ ...ids, epoch: 1, directories: new Layout("/nowhere").directories(ids), mounts: [], fresh: true });
  };
  it("says that no engine answers and what to do, and that it may be tried again", async () => {
    const provider = new DockerProvider(contextOf("providers: { docker: { host: 'unix:///nowhere/docker.sock' } }"));
    expect(await provider.probe()).toMatchObject({ available: false, detail: expect.stringContaining("systemctl start docker") as string, sandbox: null });
    await expect(request(provider)).rejects.toMatchObject({ name: "ProviderError", retryable: true, run: { code: "host_unavailable" } });
  });
  it("refuses an engine on another machine, which could not see the workspaces", async () => {
    const provider = new DockerProvider(contextOf("providers: { docker: { host: 'tcp://10.0.0.9:2375' } }"));
    expect(await provider.probe()).toMatchObject({ available: false, detail: expect.stringContaining("another machine") as string });
  });
});

describe("a container's options", () => {
  it("name an AppArmor profile where the host's file does, beside the list of system calls", () => {
    const ids = { runner_id: newId("runner", Date.now()), session_id: newId("session", Date.now()), tenant_id: newId("tenant", Date.now()), workspace_id: newId("workspace", Date.now()) };
    const request = { ...ids, epoch: 1, directories: new Layout("/nowhere").directories(ids), mounts: [], fresh: true };
    const of = (text: string) => containerOptions({ request, config: parseConfig(text).providers.docker, user: { uid: 1_000, gid: 1_000 }, labels: {}, bundle: "/bundle", env: {} }).HostConfig;
    expect(of("providers: { docker: { apparmor_profile: docker-claude } }")?.SecurityOpt).toEqual(["no-new-privileges", expect.stringMatching(/^seccomp=/), "apparmor=docker-claude"]);
    expect(of("")).toMatchObject({ SecurityOpt: ["no-new-privileges", expect.stringMatching(/^seccomp=/)], ReadonlyRootfs: true, CapDrop: ["ALL"] });
    expect(of("")).not.toHaveProperty("Dns");
  });
});

describe("an agent of the host in a container", () => {
  const provider = new DockerProvider(contextOf(""));
  const found = (path: string, shown: string, more: Partial<FoundAgent> = {}): FoundAgent => ({
    launch: { name: "mine", adapter: "custom", binary: "mine", args: ["/srv/mine/config.json", "--x"], env: {} }, binary: { path, real: path, shown, realShown: shown },
    files: [{ path: "/srv/mine/config.json", real: "/srv/mine/config.json", shown: "/srv/mine", realShown: "/srv/mine" }], ...more,
  });
  it("is shown beside its package tree, with the files that its arguments name", () => {
    const { launch, mounts } = provider.place(found("/home/me/node_modules/.bin/mine", "/home/me/node_modules"));
    expect(launch).toMatchObject({ binary: "/opt/host-agents/binary/.bin/mine", args: ["/opt/host-agents/0/config.json", "--x"] });
    expect(mounts).toEqual([{ source: "/home/me/node_modules", target: "/opt/host-agents/binary" }, { source: "/srv/mine", target: "/opt/host-agents/0" }]);
  });
  it("is shown alone where its directory must stay hidden", () => {
    expect(provider.place(found("/home/me/mine", "/home/me/mine", { files: [] }))).toMatchObject({ launch: { binary: "/opt/host-agents/binary/mine" }, mounts: [{ source: "/home/me/mine", target: "/opt/host-agents/binary/mine" }] });
  });
  it("is the image's own where it is a program of the system", () => {
    expect(provider.place(found("/usr/bin/mine", "/usr/bin", { files: [] }))).toMatchObject({ launch: { binary: "mine" }, mounts: [] });
  });
  it("is looked for in the image where the host does not have it", () => {
    expect(provider.place(found("", "", { binary: null, files: [] }))).toMatchObject({ launch: { binary: "mine" }, mounts: [] });
  });
});

/** System calls by their number on x86-64, with arguments: what a container may not do. */
const FORBIDDEN: Readonly<Record<string, string>> = {
  mount: "165, 'none', '/tmp', 'tmpfs', 0, 0", unshare: "272, 0x10000000", setns: "308, 0, 0", "clone of a user namespace": "56, 0x10000000 | 17, 0, 0, 0, 0", ptrace: "101, 0, 0, 0, 0",
  process_vm_readv: "310, 1, 0, 0, 0, 0, 0", chroot: "161, '/tmp'", "mknod of a device": "133, '/tmp/device', 0x2000 | 0600, 0x103", bpf: "321, 0, 0, 0", io_uring_setup: "425, 1, 0", keyctl: "250, 0, 0, 0, 0, 0",
  userfaultfd: "323, 0", "packet socket": "41, 17, 3, 0", "vsock socket": "41, 40, 1, 0", "alg socket": "41, 38, 5, 0", "raw socket": "41, 2, 3, 1", "netfilter socket": "41, 16, 3, 12",
  init_module: "175, 0, 0, ''", kexec_load: "246, 0, 0, 0, 0", open_by_handle_at: "304, 0, 0, 0", perf_event_open: "298, 0, 0, -1, -1, 0", sethostname: "170, 'x', 1",
};
const ALLOWED: Readonly<Record<string, string>> = { "stream socket": "41, 2, 1, 0", "datagram socket": "41, 10, 2, 0", "unix socket": "41, 1, 1, 0", "route socket": "41, 16, 3, 0", "named pipe": "133, '/tmp/pipe', 0x1000 | 0600, 0" };

describe.skipIf(unavailable !== null || process.arch !== "x64")("a container's boundary", () => {
  let root: string;
  let layout: Layout;
  let context: ProviderContext;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "mrn-boundary-"));
    // The engine's containers must be able to pass through it.
    await chmod(root, 0o755);
    layout = new Layout(join(root, "data"));
    await layout.make();
    await cp(join(import.meta.dirname, "../../test/support/scripted-runner.mjs"), join(root, "bundle/runner.js"));
    await cp(join(import.meta.dirname, "../../agent/package.json"), join(root, "bundle/package.json"));
    context = contextOf("providers: { docker: { network: none } }", root);
  });
  afterAll(() => rm(root, { recursive: true, force: true, maxRetries: 10 }));

  /** Runs a script in a container and gives back what it wrote to `said`. */
  async function run(script: string, before: (state: string, session: string) => Promise<() => Promise<void>> = async () => async () => {}, own = context): Promise<unknown> {
    const provider = new DockerProvider(own);
    const now = Date.now();
    const ids = { runner_id: newId("runner", now), session_id: newId("session", now), tenant_id: newId("tenant", now), workspace_id: newId("workspace", now) };
    const directories = layout.directories(ids);
    const view = provider.view(directories);
    await makeDirectories(directories, provider.owner, { "runner.json": JSON.stringify({ script: `const say = (value) => require("node:fs").writeFileSync(spec.view.state + "/said", JSON.stringify(value));\n${script}`, view, session: ids.session_id }) });
    const after = await before(directories.state, ids.session_id);
    try {
      const { exited } = await provider.start({ ...ids, epoch: 1, directories, mounts: [], fresh: true });
      const exit = await exited;
      expect({ code: exit.code, output: exit.code === 0 ? "" : await provider.output(ids.runner_id, 500) }).toEqual({ code: 0, output: "" });
      return JSON.parse(await readFile(join(directories.state, "said"), "utf8"));
    } finally {
      await provider.destroy(ids.runner_id);
      await after();
    }
  }

  it("is not made where the image is missing: that is said with how to make it, and not tried again", async () => {
    const provider = new DockerProvider({ ...context, config: parseConfig("providers: { docker: { image: 'marionette-runner:none' } }").providers });
    expect(await provider.probe()).toMatchObject({ available: false, detail: expect.stringContaining("npm run image") as string });
    const ids = { runner_id: newId("runner", Date.now()), session_id: newId("session", Date.now()), tenant_id: newId("tenant", Date.now()), workspace_id: newId("workspace", Date.now()) };
    const directories = layout.directories(ids);
    await makeDirectories(directories, provider.owner, {});
    await expect(provider.start({ ...ids, epoch: 1, directories, mounts: [], fresh: true })).rejects.toMatchObject({ name: "ProviderError", retryable: false, run: { code: "image_missing", hint: "npm run image" } });
  });

  it("asks the name servers that the host's file names, and no other", async () => {
    const own = contextOf("providers: { docker: { dns: [1.1.1.3, '2606:4700:4700::1113'] } }", root);
    const said = (await run(`say(require("node:fs").readFileSync("/etc/resolv.conf", "utf8"))`, undefined, own)) as string;
    expect(said.match(/(?<=^nameserver ).*$/gm)).toEqual(["1.1.1.3", "2606:4700:4700::1113"]);
  });

  it("lets none of the dangerous system calls through, and all that programs need", async () => {
    // Perl wants its strings in variables here.
    const variables = (call: string) => call.replaceAll(/'[^']*'/g, (text) => `(my $text = ${text})`);
    const perl = Object.entries({ ...FORBIDDEN, ...ALLOWED }).map(([name, call]) => `$! = 0; my $r = syscall(${variables(call)}); if ($r == 0 && '${name}' =~ /^clone/) { exit 0 } print '${name}=', ($r == -1 ? 0 + $! : 'done'), "\\n";`).join("\n");
    const output = (await run(`say(require("node:child_process").execFileSync("perl", ["-e", ${JSON.stringify(perl)}], { encoding: "utf8" }))`)) as string;
    const answers = Object.fromEntries(output.trim().split("\n").map((line) => line.split("=")));
    expect(answers).toEqual({ ...Object.fromEntries(Object.keys(FORBIDDEN).map((name) => [name, "1"])), ...Object.fromEntries(Object.keys(ALLOWED).map((name) => [name, "done"])) });
  });

  it("is crossed by its session's link alone, where the container has no network at all", async () => {
    const seen: (string | undefined)[] = [];
    const server = createServer((_request, response) => response.end("no")).on("upgrade", (request, socket) => {
      seen.push(request.headers.authorization);
      socket.end("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nwelcome");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const script = `
      const http = require("node:http");
      const dial = (options) => new Promise((resolve) => {
        const request = http.request({ ...options, headers: { connection: "upgrade", upgrade: "websocket", authorization: "Bearer gtok_x" } });
        request.on("upgrade", (response, socket, head) => { let text = head.toString(); socket.on("data", (part) => (text += part)); socket.on("end", () => resolve(text)); });
        request.on("response", (response) => resolve(response.statusCode));
        request.on("error", (error) => resolve(error.code));
        request.end();
      });
      const socketPath = spec.view.socket;
      say([await dial({ socketPath, path: "/links/runner/" + spec.session }), await dial({ socketPath, path: "/api/v1/sessions" }), await dial({ host: "127.0.0.1", port: ${new URL(url).port}, path: "/links/runner/" + spec.session })]);`;
    const said = await run(script, async (state, session) => {
      const relay = await openRelay(join(state, "relay.sock"), url, session);
      return () => relay.close();
    });
    expect(said).toEqual(["welcome", 404, "ECONNREFUSED"]);
    expect(seen).toEqual(["Bearer gtok_x"]);
    await new Promise((resolve) => server.close(resolve));
  });
});
