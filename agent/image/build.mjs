/** Owns building the sandbox's image: `npm run image [-- --agents claude,codex] [--base IMAGE] [--ca FILE] [--tag NAME]`. */

import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs, promisify } from "node:util";

const run = promisify(execFile);
const here = import.meta.dirname;
const require = createRequire(import.meta.url);
const REPOSITORY = "marionette-runner";
const DEFAULT_BASE = "debian:bookworm-slim";
/** npm packages of the agents that can be put into the image, and the commands that they bring. */
const AGENT_PACKAGES = { claude: "@anthropic-ai/claude-code", codex: "@openai/codex", gemini: "@google/gemini-cli", opencode: "opencode-ai" };

const { values } = parseArgs({
  options: { agents: { type: "string", default: "" }, base: { type: "string", default: DEFAULT_BASE }, ca: { type: "string" }, tag: { type: "string", default: "latest" }, help: { type: "boolean" } },
});
if (values.help) {
  console.log(`npm run image -- [options]
  --agents claude,codex  put these agents' programs into the image (hundreds of megabytes)
  --base IMAGE           image to start from (${DEFAULT_BASE}); without a registry, root with debootstrap makes it
  --ca FILE              certificates to trust beside the usual ones (SSL_CERT_FILE of this host, if it is set)
  --tag NAME             tag beside the one named by contents (latest)`);
  process.exit(0);
}

function say(text) {
  process.stderr.write(`image: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}

/** The engine, or an end with what to do. */
async function connect() {
  const { default: Docker } = await import("dockerode");
  const docker = new Docker();
  await docker.ping().catch((error) => fail(`no Docker engine answers (${error.message}). Install one (Debian, Ubuntu: apt-get install docker.io) or start it, and see that this user may use it.`));
  return docker;
}

/** Makes sure that the base image is there: local, pulled, or made from Debian's packages. */
async function ensureBase(docker, base) {
  if (await docker.getImage(base).inspect().then(() => true, () => false)) return say(`base ${base} is here`);
  say(`pulling ${base}`);
  const pulled = await docker.pull(base).then((stream) => follow(docker, stream), (error) => error);
  if (!(pulled instanceof Error)) return;
  say(`cannot pull it: ${pulled.message}`);
  const suite = /^debian:(\w+)(-slim)?$/.exec(base)?.[1];
  const debootstrap = await run("sh", ["-c", "command -v debootstrap || ls /usr/sbin/debootstrap"]).then(({ stdout }) => stdout.trim(), () => "");
  if (!suite || debootstrap === "" || process.getuid?.() !== 0) fail(`no base image: give one with --base that the engine has or can pull, or run as root with debootstrap installed (apt-get install debootstrap).`);
  const root = await mkdtemp(join(tmpdir(), "marionette-base-"));
  try {
    say(`making ${base} with debootstrap (about half a minute)`);
    await stream(debootstrap, ["--variant=minbase", suite, root]);
    // It becomes the image's root, which every user must be able to enter.
    await chmod(root, 0o755);
    const tar = spawn("tar", ["-C", root, "-c", "."], { stdio: ["ignore", "pipe", "inherit"] });
    const [repo, tag] = base.split(":");
    await follow(docker, await docker.importImage(tar.stdout, { repo, tag }));
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** Runs a program and shows each of its lines. */
function stream(file, args, options = {}) {
  return new Promise((done, failed) => {
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"], ...options });
    child.stdout.on("data", (chunk) => process.stderr.write(chunk));
    child.once("error", failed);
    child.once("exit", (code) => (code === 0 ? done() : failed(new Error(`${file} ended with ${code}`))));
  });
}

/** Shows an engine's progress; rejects, or resolves with the error, where it says one. */
function follow(docker, progress) {
  return new Promise((done) => {
    docker.modem.followProgress(
      progress,
      (error, output) => {
        const said = output?.find((line) => line.error)?.error;
        done(error ?? (said ? new Error(said) : undefined));
      },
      (line) => {
        if (line.stream) process.stderr.write(line.stream);
        else if (line.status && !line.progress) process.stderr.write(`${line.id ? `${line.id}: ` : ""}${line.status}\n`);
      },
    );
  });
}

/** Node's binary as the npm package carries it, so that image and daemon run the same one. */
async function nodeBinary() {
  const packaged = join(dirname(require.resolve("node/package.json")), "bin", "node");
  return readFile(packaged).then(() => packaged, () => process.execPath);
}

/** Puts the build's context together; returns its hash. */
async function stage(context, agents) {
  for (const name of ["Dockerfile", "motd"]) await copyFile(join(here, name), join(context, name));
  await copyFile(await nodeBinary(), join(context, "node"));
  const certificates = values.ca ?? process.env.SSL_CERT_FILE ?? process.env.NODE_EXTRA_CA_CERTS;
  await (certificates ? copyFile(resolve(certificates), join(context, "host-certificates.pem")) : writeFile(join(context, "host-certificates.pem"), ""));
  const directory = join(context, "agents");
  await mkdir(directory);
  await writeFile(join(directory, "package.json"), '{ "private": true }\n');
  if (agents.length > 0) await installAgents(directory, agents);
  return hashOf(context);
}

async function installAgents(directory, agents) {
  // The clones that the tests use carry the same programs; a second download of them would be waste.
  const local = resolve(here, "../../test/clis/node_modules");
  const wanted = agents.map((name) => AGENT_PACKAGES[name]);
  const present = await Promise.all(wanted.map((name) => readFile(join(local, name, "package.json")).then(() => true, () => false)));
  if (present.every(Boolean)) {
    say(`copying ${wanted.join(", ")}`);
    return cp(local, join(directory, "node_modules"), { recursive: true, verbatimSymlinks: true });
  }
  say(`installing ${wanted.join(", ")}`);
  await stream("npm", ["install", "--prefix", directory, "--no-audit", "--no-fund", ...wanted]);
}

async function hashOf(directory) {
  const hash = createHash("sha256").update(values.base);
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).toSorted();
  for (const file of files) hash.update(file.slice(directory.length)).update(await readFile(file));
  return hash.digest("hex").slice(0, 12);
}

const agents = values.agents.split(",").map((name) => name.trim()).filter(Boolean);
const unknown = agents.filter((name) => !Object.hasOwn(AGENT_PACKAGES, name));
if (unknown.length > 0) fail(`--agents: ${unknown.join(", ")} cannot be put in by name; known are ${Object.keys(AGENT_PACKAGES).join(", ")}. For others, build an image FROM ${REPOSITORY}:latest.`);

const docker = await connect();
await ensureBase(docker, values.base);
const context = await mkdtemp(join(tmpdir(), "marionette-image-"));
try {
  const hash = await stage(context, agents);
  const name = `${REPOSITORY}:${hash}`;
  if (await docker.getImage(name).inspect().then(() => true, () => false)) say(`${name} is up to date`);
  else {
    say(`building ${name}`);
    const options = { t: name, buildargs: { BASE: values.base, AGENTS: agents.join(",") }, rm: true, forcerm: true };
    const error = await follow(docker, await docker.buildImage({ context, src: await readdir(context) }, options));
    if (error instanceof Error) fail(`the build failed: ${error.message}`);
  }
  await docker.getImage(name).tag({ repo: REPOSITORY, tag: values.tag });
  say(`${name}, also ${REPOSITORY}:${values.tag}`);
} finally {
  await rm(context, { recursive: true, force: true });
}
