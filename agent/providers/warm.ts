/** Owns sandboxes that have started before anybody needs them: their runner is loaded and waits for its runner.json. */

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { chown, mkdir, open, readdir, readFile, rename, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import type { Owner, SandboxDirectories } from "./provider.ts";

const run = promisify(execFile);
/** Starting the next one would slow down the runner that has just been given away. */
const REFILL_MS = 400;
/** A runner that is not loaded by then never will be. */
const LOAD_MS = 10_000;
const LOOK_MS = 20;
/** A pipe holds 64 KiB; a longer runner.json would wait for its reader. */
const MAX_SPEC_BYTES = 32_768;
const SPEC = "runner.json";

export interface WarmOptions<T> {
  /** Directory for those that wait; on the same file system as the runners' own directories. */
  root: string;
  size: number;
  owner: () => Owner | null;
  /** Starts a sandbox in these directories that shows what `kind` names; `mark` is how its processes are known. */
  launch: (directories: SandboxDirectories, kind: string, mark: string) => Promise<T>;
  /** Whether its runner is loaded and reads `runner.json` now: before that, its directories must keep their names. */
  waits: (launched: T) => Promise<boolean>;
  discard: (launched: T, mark: string) => Promise<void>;
  alive: (launched: T) => boolean;
  failed: (error: unknown) => void;
}

export interface Warm<T> {
  launched: T;
  mark: string;
  kind: string;
  directories: SandboxDirectories;
  /** The other end of the pipe that stands where the runner looks for its runner.json. */
  spec: FileHandle;
}

/**
 * Keeps `size` sandboxes ready. Their directories are already bound inside, so to give one away its directories are renamed to where the runner's own should be:
 * a bind follows the directory, not its name. That needs a workspace and a home that are new, and that nobody else uses.
 */
export class WarmPool<T> {
  readonly #options: WarmOptions<T>;
  #ready: Warm<T>[] = [];
  #wanted: string | null = null;
  #timer: NodeJS.Timeout | undefined;
  #filling: Promise<void> = Promise.resolve();
  #closed = false;
  readonly #marks = new Set<string>();

  constructor(options: WarmOptions<T>) {
    this.#options = options;
  }

  /** How many wait now. */
  get ready(): number {
    return this.#ready.length;
  }

  /** From now on sandboxes of this kind are kept ready; again after each that is taken. */
  want(kind: string, delay = REFILL_MS): void {
    if (this.#options.size === 0 || this.#closed) return;
    this.#wanted = kind;
    // One wait covers all that are taken meanwhile: put off again and again, it would never end.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#filling = this.#filling.then(() => this.#fill()).catch(this.#options.failed);
    }, delay);
    this.#timer.unref();
  }

  /** Gives one of this kind away, with its directories in the place of `directories`, which must be new and empty but for runner.json; null where none fits. */
  async take(kind: string, directories: SandboxDirectories): Promise<Warm<T> | null> {
    const spec = await readFile(join(directories.state, SPEC));
    if (spec.length > MAX_SPEC_BYTES) return null;
    const index = this.#ready.findIndex((warm) => warm.kind === kind && this.#options.alive(warm.launched));
    const [warm] = index === -1 ? [] : this.#ready.splice(index, 1);
    if (!warm) return null;
    try {
      await Promise.all([rename(warm.directories.workspace, directories.workspace), rename(warm.directories.home, directories.home)]);
      // The file first: a runner that has not come so far finds it, one that already waits reads the pipe.
      await rename(join(directories.state, SPEC), join(warm.directories.state, SPEC));
      await rename(warm.directories.state, directories.state);
      await Promise.all(["output.log", "status"].map((name) => rename(join(warm.directories.record, name), join(directories.record, name))));
      await warm.spec.write(spec);
      return warm;
    } catch (error) {
      await this.#options.discard(warm.launched, warm.mark);
      throw error;
    } finally {
      await warm.spec.close();
      await rm(this.#place(warm.mark), { recursive: true, force: true });
    }
  }

  /** Ends what an earlier owner of the directory left: mostly it has ended by itself, but one that was still loading waits for ever. */
  async clear(end: (mark: string) => Promise<void>): Promise<void> {
    const marks = (await readdir(this.#options.root).catch(() => [])).filter((mark) => !this.#marks.has(mark));
    await Promise.all(
      marks.map(async (mark) => {
        await end(mark);
        await rm(this.#place(mark), { recursive: true, force: true });
      }),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#filling;
    await Promise.all(this.#ready.splice(0).map((warm) => this.#drop(warm)));
  }

  async #fill(): Promise<void> {
    const kind = this.#wanted;
    if (kind === null) return;
    const stale = this.#ready.filter((warm) => warm.kind !== kind || !this.#options.alive(warm.launched));
    this.#ready = this.#ready.filter((warm) => !stale.includes(warm));
    await Promise.all(stale.map((warm) => this.#drop(warm)));
    while (this.#ready.length < this.#options.size && !this.#closed && kind === this.#wanted) this.#ready.push(await this.#make(kind));
  }

  async #make(kind: string): Promise<Warm<T>> {
    const mark = `warm-${randomBytes(9).toString("base64url")}`;
    this.#marks.add(mark);
    const record = this.#place(mark);
    const directories = { workspace: join(record, "workspace"), home: join(record, "home"), state: join(record, "state"), record };
    await mkdir(record, { recursive: true, mode: 0o700 });
    const owner = this.#options.owner();
    for (const path of [directories.workspace, directories.home, directories.state]) {
      await mkdir(path, { mode: 0o700 });
      if (owner) await chown(path, owner.uid, owner.gid);
    }
    const pipe = join(directories.state, SPEC);
    await run("mkfifo", ["-m", "600", pipe]);
    if (owner) await chown(pipe, owner.uid, owner.gid);
    // Open for both, so that nobody blocks; when this process ends, the waiting runner reads an end and ends too.
    const spec = await open(pipe, constants.O_RDWR);
    let launched: T | undefined;
    try {
      launched = await this.#options.launch(directories, kind, mark);
      const until = Date.now() + LOAD_MS;
      while (!(await this.#options.waits(launched))) {
        if (Date.now() > until || this.#closed || !this.#options.alive(launched)) throw new Error("the runner does not come to read its runner.json");
        await pause(LOOK_MS);
      }
      return { launched, mark, kind, directories, spec };
    } catch (error) {
      await spec.close();
      if (launched) await this.#options.discard(launched, mark);
      await rm(record, { recursive: true, force: true });
      throw error;
    }
  }

  async #drop(warm: Warm<T>): Promise<void> {
    await warm.spec.close();
    await this.#options.discard(warm.launched, warm.mark);
    await rm(this.#place(warm.mark), { recursive: true, force: true });
  }

  #place(mark: string): string {
    return join(this.#options.root, mark);
  }
}
