/** Owns the data directory of one machine: its secrets, the first key, and the note of what runs now. */

import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";

/** `local.json`: made once, read by its owner only. */
const secrets = z.object({
  master_key: z.string().min(32),
  encryption_key: z.string().regex(/^[0-9a-f]{64}$/),
  /** Made by the first start, once the control plane answers. */
  tenant_id: z.string().nullable(),
  runner_token: z.string().nullable(),
});
export type Secrets = z.infer<typeof secrets>;

/** `context.json`: what mctl finds when it is called below the directory that holds the data. */
const context = z.object({ url: z.url(), api_key: z.string() });
export type Context = z.infer<typeof context>;

/** `running.json`: processes of the start that holds the directory. */
const running = z.object({ url: z.string(), processes: z.array(z.object({ what: z.string(), pid: z.number().int(), started: z.string() })) });
export type Running = z.infer<typeof running>;

export interface DataDirectory {
  root: string;
  /** Path of a part: `state`, `postgres`, `host`, `logs`, `build`. */
  part(name: "state" | "postgres" | "host" | "logs" | "build"): string;
  contextFile: string;
  secrets(): Promise<Secrets>;
  saveSecrets(secrets: Secrets): Promise<void>;
  context(): Promise<Context | null>;
  saveContext(context: Context): Promise<void>;
  running(): Promise<Running | null>;
  saveRunning(running: Running | null): Promise<void>;
}

/** Opens the data directory at `root`, closed to other users; makes what is missing. Throws with the file's name where one is not what it should be. */
export async function openData(root: string): Promise<DataDirectory> {
  await mkdir(root, { recursive: true, mode: 0o700 });
  await chmod(root, 0o700);
  const path = (name: string) => join(root, name);

  async function read<T>(name: string, schema: z.ZodType<T>): Promise<T | null> {
    if (!existsSync(path(name))) return null;
    const text = await readFile(path(name), "utf8");
    try {
      return schema.parse(JSON.parse(text));
    } catch {
      throw new Error(`${path(name)} is damaged: repair it, or move ${root} away to begin anew`);
    }
  }
  /** Whole or not at all, and never readable by others, not even for a moment. */
  async function write(name: string, value: unknown): Promise<void> {
    const partial = path(`${name}.${process.pid}`);
    await writeFile(partial, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600, flush: true });
    await rename(partial, path(name));
  }

  return {
    root,
    part: path,
    contextFile: path("context.json"),
    secrets: async () => {
      const found = await read("local.json", secrets);
      if (found) return found;
      const made: Secrets = { master_key: randomBytes(32).toString("base64url"), encryption_key: randomBytes(32).toString("hex"), tenant_id: null, runner_token: null };
      await write("local.json", made);
      return made;
    },
    saveSecrets: (value) => write("local.json", value),
    context: () => read("context.json", context),
    saveContext: (value) => write("context.json", value),
    running: () => read("running.json", running).catch(() => null),
    saveRunning: (value) => (value ? write("running.json", value) : rm(path("running.json"), { force: true })),
  };
}
