/** Owns building the bundled image of the Docker sandbox: `npm run image:marco [-- --base IMAGE] [--ca FILE] [--tag NAME]`. */

import { execFile, spawn } from "node:child_process";
import { chmod, copyFile, cp, mkdtemp, readdir, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs, promisify } from "node:util";
import Docker from "dockerode";

const run = promisify(execFile);
const DEFAULT_BASE = "debian:bookworm-slim";
const { values } = parseArgs({ options: { base: { type: "string", default: DEFAULT_BASE }, ca: { type: "string" }, tag: { type: "string", default: "marco-sandbox:latest" } } });

const say = (text) => process.stderr.write(`image: ${text}\n`);
function fail(text) {
  say(text);
  process.exit(1);
}

const docker = new Docker();
await docker.ping().catch((error) => fail(`no Docker engine answers (${error.message}). Install one (Debian, Ubuntu: apt-get install docker.io) or start it, and see that this user may use it.`));
await ensureBase(values.base);
const context = await mkdtemp(join(tmpdir(), "marco-image-"));
try {
  await stage(context);
  const error = await follow(await docker.buildImage({ context, src: await readdir(context) }, { t: values.tag, buildargs: { BASE: values.base }, rm: true, forcerm: true }));
  if (error) fail(`the build failed: ${error.message}`);
  say(`built ${values.tag}; use it with createDockerSandboxProvider({ image: "${values.tag}" })`);
} finally {
  await rm(context, { recursive: true, force: true });
}

/** Local, pulled, or made from Debian's packages where there is no registry. */
async function ensureBase(base) {
  if (await docker.getImage(base).inspect().then(() => true, () => false)) return;
  say(`pulling ${base}`);
  const error = await docker.pull(base).then(follow, (failure) => failure);
  if (!error) return;
  const suite = /^debian:(\w+)(-slim)?$/.exec(base)?.[1];
  if (!suite || process.getuid?.() !== 0) fail(`cannot pull ${base}: ${error.message}. Give one that the engine has with --base, or run as root with debootstrap installed.`);
  const root = await mkdtemp(join(tmpdir(), "marco-base-"));
  try {
    say(`cannot pull it (${error.message}); making it with debootstrap`);
    await run("debootstrap", ["--variant=minbase", suite, root], { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }, maxBuffer: 1 << 26 });
    await chmod(root, 0o755);
    const tar = spawn("tar", ["-C", root, "-c", "."], { stdio: ["ignore", "pipe", "inherit"] });
    const [repo, tag] = base.split(":");
    await follow(await docker.importImage(tar.stdout, { repo, tag }));
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

async function stage(directory) {
  await copyFile(join(import.meta.dirname, "Dockerfile"), join(directory, "Dockerfile"));
  await copyFile(process.execPath, join(directory, "node"));
  const { stdout } = await run("sh", ["-c", "command -v npm"]);
  // …/npm/bin/npm-cli.js
  await cp(dirname(dirname(await realpath(stdout.trim()))), join(directory, "npm"), { recursive: true, verbatimSymlinks: true });
  const certificates = values.ca ?? process.env.SSL_CERT_FILE ?? process.env.NODE_EXTRA_CA_CERTS;
  await (certificates ? copyFile(resolve(certificates), join(directory, "host-certificates.pem")) : writeFile(join(directory, "host-certificates.pem"), ""));
}

/** Shows an engine's progress; resolves with the error that it says, if any. */
function follow(progress) {
  return new Promise((done) => {
    docker.modem.followProgress(
      progress,
      (error, output) => {
        const said = output?.find((line) => line.error)?.error;
        done(error ?? (said ? new Error(said) : null));
      },
      (line) => process.stderr.write(line.stream ?? ""),
    );
  });
}
