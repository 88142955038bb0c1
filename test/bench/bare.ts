/** Owns the runtime of the bare object: the same workerd, settings and storage as Marionette's own, without Marionette. */

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

export async function startBare(): Promise<Bare> {
  const bundle = await build({ entryPoints: [join(import.meta.dirname, "bare-object.ts")], bundle: true, write: false, format: "esm", external: ["cloudflare:*"] });
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
          env: { BARE: { type: "durable-object", worker: "bare", exportName: "Bare" } },
          exports: { Bare: { type: "durable-object", storage: "sqlite" } },
        },
        dev: { unsafeDirectSockets: [{ host: "127.0.0.1", port }] },
      },
    ],
  });
  await miniflare.ready;
  return {
    socket: (name, end) => `ws://127.0.0.1:${port}/${name}/${end}`,
    close: async () => {
      await miniflare.dispose();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
