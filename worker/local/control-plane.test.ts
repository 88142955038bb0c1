import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { Miniflare, NoOpLog } from "miniflare";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { unstable_readConfig } from "wrangler";
import * as z from "zod";
import { ROOT } from "./bundle.ts";
import { BUCKET, COMPATIBILITY, objectStoreIn, OBJECTS, PUBLIC_NETWORK, startControlPlane, type ControlPlane, type ControlPlaneOptions } from "./control-plane.ts";
import { startPostgres, type Postgres } from "./postgres.ts";

/** What of wrangler.toml this machine has to repeat. */
const production = z.object({
  compatibility_date: z.string(),
  compatibility_flags: z.array(z.string()),
  durable_objects: z.object({ bindings: z.array(z.object({ name: z.string(), class_name: z.string() })) }),
  r2_buckets: z.array(z.object({ binding: z.string(), bucket_name: z.string() })),
});

it("the public network connects to no private address, whatever name leads there", async () => {
  const inside = createHttpServer((_, answer) => answer.end("inside"));
  await new Promise<void>((done) => void inside.listen(0, "127.0.0.1", done));
  const { port } = inside.address() as AddressInfo;
  const contents = `const said = (fetched) => fetched.then((answer) => answer.text(), () => "refused");
    export default { async fetch(request, { PUBLIC_NETWORK }) { const url = await request.text(); return Response.json([await said(PUBLIC_NETWORK.fetch(url)), await said(fetch(url))]); } }`;
  const miniflare = new Miniflare({
    cf: false, enableDevRegistry: false, telemetry: { enabled: false }, log: new NoOpLog(), handleStructuredLogs: () => {},
    workers: [{ config: { name: "reach", compatibilityDate: COMPATIBILITY.date, compatibilityFlags: [], manifest: { mainModule: "index.js", modulesRoot: tmpdir(), modules: { "index.js": { type: "esm", contents } } }, env: { PUBLIC_NETWORK } } }],
  });
  try {
    for (const host of ["localhost", "127.0.0.1", hostname()]) {
      const [byPublic, plain] = (await (await miniflare.dispatchFetch("http://reach", { method: "POST", body: `http://${host}:${port}` })).json()) as [string, string];
      expect(byPublic, `${host}`).toBe("refused");
      // The machine's own name may lead to an address at which nobody listens.
      if (host !== hostname()) expect(plain, `${host}`).toBe("inside");
    }
  } finally {
    await miniflare.dispose();
    inside.close();
  }
});

describe("the control plane on one machine", () => {
  let dir: string;
  let postgres: Postgres;
  let plane: ControlPlane;
  let options: ControlPlaneOptions;
  const lines: string[] = [];
  const alive = async () => (await fetch(`${plane.url}/health/live`)).status;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "control-plane-"));
    postgres = await startPostgres();
    options = { dir, databaseUrl: postgres.url, databaseEndpoint: postgres.endpoint, masterKey: "m".repeat(32), encryptionKey: "0".repeat(64), log: (line) => void lines.push(line) };
    plane = await startControlPlane(options);
  });
  afterAll(async () => {
    await plane.close();
    await postgres.close();
    await rm(dir, { recursive: true, force: true });
  });

  it("has the bindings that wrangler.toml gives production", () => {
    const config = production.parse(unstable_readConfig({ config: join(ROOT, "wrangler.toml") }));
    expect({ date: config.compatibility_date, flags: config.compatibility_flags }).toEqual(COMPATIBILITY);
    expect(Object.fromEntries(config.durable_objects.bindings.map(({ name, class_name }) => [name, class_name]))).toEqual(OBJECTS);
    expect(config.r2_buckets.map(({ binding, bucket_name }) => [binding, bucket_name])).toEqual([["BUCKET", BUCKET]]);
  });

  it("comes back on the same port by itself when workerd is killed", async () => {
    const before = plane.pid;
    expect(await alive()).toBe(200);
    await plane.kill();
    expect(await alive()).toBe(200);
    expect(plane.pid).not.toBe(before);
    expect(() => process.kill(before ?? 0, 0)).toThrow("ESRCH");
  });

  it("stays away while it is stopped, and leaves no process", async () => {
    const before = plane.pid;
    await plane.stop();
    await expect(alive()).rejects.toThrow("fetch failed");
    expect(() => process.kill(before ?? 0, 0)).toThrow("ESRCH");
    await plane.start();
    expect(await alive()).toBe(200);
  });

  it("forgets what a killed workerd had half written, and nothing else", async () => {
    const chunks = join(dir, "objects/chunks/ab");
    await mkdir(chunks, { recursive: true });
    for (const name of ["whole", ".whole.4711.0.tmp", "a.1.2.tmp"]) await writeFile(join(chunks, name), "x");
    await plane.stop();
    await plane.start();
    expect((await readdir(chunks)).sort()).toEqual(["a.1.2.tmp", "whole"]);
  });

  it("keeps sealed bytes in a directory, and where they began in the simulation of R2, there", async () => {
    expect(objectStoreIn(dir)).toBe("disk");
    const earlier = join(dir, "earlier");
    await mkdir(join(earlier, "r2", BUCKET), { recursive: true });
    expect(objectStoreIn(earlier)).toBe("r2");
  });

  it("says so where its port is taken", async () => {
    const server = createServer();
    await new Promise<void>((done) => {
      server.listen(0, "127.0.0.1", done);
    });
    const { port } = server.address() as AddressInfo;
    await expect(startControlPlane({ ...options, dir: join(dir, "other"), port })).rejects.toThrow(/already in use/i);
    server.close();
  });
});
