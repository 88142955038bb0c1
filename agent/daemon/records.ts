/** Owns the daemon's memory of its runners on disk: one private file beside each runner's state, without secrets. */

import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { idOf, sandboxKind, slug } from "../../sdk/protocol/index.ts";
import type { Layout } from "./layout.ts";

const runnerRecord = z.object({
  runner_id: idOf("runner"),
  session_id: idOf("session"),
  tenant_id: idOf("tenant"),
  workspace_id: idOf("workspace"),
  epoch: z.number().int().min(1),
  provider: slug,
  sandbox: sandboxKind.nullable(),
  isolation: z.string(),
  mounts: z.array(z.object({ source: z.string(), target: z.string() })),
  /** The directory of the host's own that it works in, without links, and who runs there. */
  directory: z.object({ path: z.string(), owner: z.object({ uid: z.number().int(), gid: z.number().int() }).nullable() }).optional(),
  /** Its sandbox was saved and is not there until it is resumed. */
  saved: z.boolean().optional(),
});
/** All that is needed to start the runner again on its state. */
export type RunnerRecord = z.infer<typeof runnerRecord>;

const FILE = "record.json";

export class Records {
  readonly #layout: Layout;
  constructor(layout: Layout) {
    this.#layout = layout;
  }

  async save(record: RunnerRecord): Promise<void> {
    const path = join(this.#layout.runner(record.runner_id), FILE);
    await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${path}.new`, path);
  }

  /** Every runner of earlier, in order of creation; directories without a readable record are left out. */
  async all(): Promise<RunnerRecord[]> {
    const names = await readdir(this.#layout.runners).catch(() => []);
    const read = await Promise.all(names.toSorted((a, b) => (a < b ? -1 : 1)).map((name) => this.#read(name)));
    return read.filter((record) => record !== null);
  }

  /** Forgets the runner, its journal and its output. */
  remove(runnerId: string): Promise<void> {
    return rm(this.#layout.runner(runnerId), { recursive: true, force: true, maxRetries: 3 });
  }

  async #read(name: string): Promise<RunnerRecord | null> {
    const text = await readFile(join(this.#layout.runners, name, FILE), "utf8").catch(() => null);
    if (text === null) return null;
    try {
      const parsed = runnerRecord.safeParse(JSON.parse(text));
      return parsed.success && parsed.data.runner_id === name ? parsed.data : null;
    } catch {
      return null;
    }
  }
}
