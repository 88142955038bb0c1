/** Owns the runtime of bare workers: the same workerd, settings and storage as Marionette's own, without Marionette. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { freePort } from "../support/free-port.ts";

export interface Bare {
  /** ws://… of a socket of the object called `name`. */
  socket(name: string, end: "runner" | "viewer"): string;
  close(): Promise<void>;
}

/** Runs the worker of one file here; `objects` are the classes that it exports, by their bindings. */
async function startWorker(entry: string, vars: Record<string, string>, objects: Record<string, string>): Promise<{ port: number; close: () => Promise<void> }> {
  const bundle = await build({ entryPoints: [join(import.meta.dirname, entry)], bundle: true, write: false, format: "esm", external: ["cloudflare:*"] });
  const dir = await mkdtemp(join(tmpdir(), "bare-"));
  const port = await freePort();
  const miniflare = new Miniflare({
    host: "127.0.0.1",
    cf: false,
    enableDevRegistry: false,
    telemetry: { enabled: false },
    logRequests: false,
    resourcePersistencePath: dir,
    workers: [
      {
        config: {
          name: "bare",
          compatibilityDate: "2026-10-01",
          compatibilityFlags: [],
          manifest: { mainModule: "index.js", modulesRoot: dir, modules: { "index.js": { type: "esm", contents: bundle.outputFiles[0]?.text ?? "" } } },
          env: {
            ...Object.fromEntries(Object.entries(vars).map(([name, value]) => [name, { type: "text" as const, value }])),
            ...Object.fromEntries(Object.entries(objects).map(([binding, exportName]) => [binding, { type: "durable-object" as const, worker: "bare", exportName }])),
          },
          exports: Object.fromEntries(Object.values(objects).map((name) => [name, { type: "durable-object" as const, storage: "sqlite" as const }])),
        },
        dev: { unsafeDirectSockets: [{ host: "127.0.0.1", port }] },
      },
    ],
  });
  await miniflare.ready;
  return {
    port,
    close: async () => {
      await miniflare.dispose();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export async function startBare(): Promise<Bare> {
  const { port, close } = await startWorker("bare-object.ts", {}, { BARE: "Bare" });
  return { socket: (name, end) => `ws://127.0.0.1:${port}/${name}/${end}`, close };
}

/** A worker that passes every request on to `upstream` and does nothing else. */
export async function startBareProxy(upstream: string): Promise<{ url: string; close: () => Promise<void> }> {
  const { port, close } = await startWorker("bare-proxy.ts", { UPSTREAM: upstream }, {});
  return { url: `http://127.0.0.1:${port}`, close };
}
