/**
 * Owns the provider over a Marionette session: a workspace is a session, found by a label, whose agent is `session-shell.mjs`, so every program is a task of it.
 * That is the only way in: the API reads files but has no exec and no writes. What follows from it, and is said in `capabilities` or thrown as `unsupported`:
 * one program at a time (tasks of a session queue), no background jobs (a runner ends what a task leaves), no secrets (a prompt is kept in the log: give them
 * as the session's own variables), identity files only for `read`, `list` and `stat`, from memory, and no `stop` (the session suspends by its own rules).
 */

import { posix } from "node:path";
import { IDENTITY, WorkspaceError, type AgentImage, type AgentWorkspace, type ExecEvent, type ExecOptions, type FileStat, type ImageContents, type MaterializeOptions, type OpenSandbox, type ReadOptions, type Sandbox, type SandboxCapabilities, type SandboxStatus, type WriteOptions } from "./contracts.ts";
import { checkCommand } from "./execution.ts";
import { checkRange, notFound, sorted } from "./host-files.ts";
import { checked } from "./local.ts";
import { identityPath, placeOf, writablePlace, type Place } from "./paths.ts";
import { SessionApi, session, sessionPage, type SessionApiOptions } from "./session-api.ts";
import { runTask } from "./session-task.ts";
import { ShellFiles } from "./shell-files.ts";
import { Turns } from "./turns.ts";

const LABEL = "marco.workspace";
const CAPABILITIES: SandboxCapabilities = { exec: true, write: true, jobs: false, installs: false, isolation: "session" };
/** A prompt holds a million characters, and base64 takes four for three bytes. */
const MAX_WRITE = 700_000;

export interface SessionSandboxOptions extends SessionApiOptions {
  /** What the host calls `session-shell.mjs` in its configuration; `shell` where absent. */
  agent?: string | undefined;
  /** Further fields of the session that is created: pool, provider, env, … */
  session?: Readonly<Record<string, unknown>> | undefined;
}

export function createSessionSandboxProvider(options: SessionSandboxOptions): Sandbox {
  return new SessionSandbox(options);
}

class SessionSandbox implements Sandbox {
  readonly name = "session";
  readonly capabilities = CAPABILITIES;
  readonly #options: SessionSandboxOptions;
  readonly #api: SessionApi;
  readonly #turns = new Turns();

  constructor(options: SessionSandboxOptions) {
    this.#options = options;
    this.#api = new SessionApi(options);
  }

  async materialize(key: string, { signal }: MaterializeOptions = {}): Promise<OpenSandbox> {
    checked(key);
    return this.#turns.run(key, async () => {
      const found = await this.#find(key);
      const { agent = "shell", session: more = {} } = this.#options;
      const id = found ?? (await this.#api.call("POST", "/sessions", session, { ...more, agent, labels: { [LABEL]: key } }, signal)).id;
      const { root } = await runTask(this.#api, id, { argv: ["true"], signal, timeout_ms: undefined }, () => {});
      const computer = new SessionComputer(key, this.#api, id, root);
      return { key, fresh: found === null, image: computer, workspace: computer };
    });
  }

  async status(key: string): Promise<SandboxStatus> {
    const id = await this.#find(checked(key));
    if (id === null) return "absent";
    const { status } = await this.#api.call("GET", `/sessions/${id}`, session);
    return ["suspended", "suspending"].includes(status) ? "stopped" : "running";
  }

  async stop(key: string): Promise<void> {
    if ((await this.#find(checked(key))) !== null) throw new WorkspaceError("unsupported", "a session suspends by its own rules, when nobody gives it tasks; destroy ends it");
  }

  async destroy(key: string): Promise<boolean> {
    const id = await this.#find(checked(key));
    if (id === null) return false;
    await this.#api.call("DELETE", `/sessions/${id}`, session);
    return true;
  }

  async close(): Promise<void> {}

  async #find(key: string): Promise<string | null> {
    const { items } = await this.#api.call("GET", `/sessions?limit=200&labels=${encodeURIComponent(`${LABEL}:${key}`)}`, sessionPage);
    // The oldest, where two processes made one each.
    return items.findLast(({ status }) => status !== "terminated")?.id ?? null;
  }
}

class SessionComputer implements AgentWorkspace, AgentImage {
  readonly key: string;
  readonly capabilities = CAPABILITIES;
  readonly root: string;
  readonly identity = IDENTITY;
  readonly #api: SessionApi;
  readonly #session: string;
  readonly #files: ShellFiles;
  #image: { version: string; files: ReadonlyMap<string, Buffer>; at: Date } | null = null;

  constructor(key: string, api: SessionApi, sessionId: string, root: string) {
    this.key = key;
    this.root = root;
    this.#api = api;
    this.#session = sessionId;
    this.#files = new ShellFiles(async (argv, { stdin, limit, signal }) => {
      const parts: Record<"stdout" | "stderr", Uint8Array[]> = { stdout: [], stderr: [] };
      let size = 0;
      const { code } = await runTask(api, sessionId, { argv, stdin, signal, timeout_ms: undefined }, (stream, bytes) => {
        size += bytes.byteLength;
        if (size <= limit) parts[stream].push(bytes);
      });
      if (size > limit) throw new WorkspaceError("too_large", `more than ${limit} bytes of output`);
      return { code, stdout: Buffer.concat(parts.stdout), stderr: Buffer.concat(parts.stderr) };
    }, () => root);
  }

  async version(): Promise<string | null> {
    return this.#image?.version ?? null;
  }
  async hydrate({ version, files, secrets = {} }: ImageContents): Promise<boolean> {
    if (Object.keys(secrets).length > 0) throw new WorkspaceError("unsupported", "secrets cannot be brought into a session later: a task's prompt is kept in its log. Give them as the session's variables when it is created (option session: { env })");
    const contents = new Map(Object.entries(files).map(([path, value]) => [identityPath(path), Buffer.from(value)]));
    if (this.#image?.version === version) return false;
    this.#image = { version, files: contents, at: new Date() };
    return true;
  }

  async read(path: string, options: ReadOptions = {}) {
    const place = this.#place(path);
    if (place.area === "workspace") return this.#files.read(place, options);
    const { offset = 0, length } = options;
    checkRange(offset, length);
    const bytes = this.#image?.files.get(place.relative);
    if (bytes === undefined) throw (await this.stat(path)) === null ? notFound(place) : new WorkspaceError("not_a_file", `${place.shown} is a directory`);
    return { path: place.shown, size: bytes.length, offset, bytes: bytes.subarray(offset, length === undefined ? undefined : offset + length), version: this.#image?.version ?? "" };
  }
  async write(path: string, contents: string | Uint8Array, options?: WriteOptions) {
    const bytes = Buffer.from(contents);
    const place = writablePlace(path, this.root);
    if (bytes.byteLength > MAX_WRITE) throw new WorkspaceError("too_large", `${place.shown}: ${bytes.byteLength} bytes are more than the ${MAX_WRITE} that a task of a session can bring`);
    return this.#files.write(place, bytes, options);
  }
  async list(path: string, { signal }: { signal?: AbortSignal | undefined } = {}) {
    const place = this.#place(path);
    if (place.area === "workspace") return this.#files.list(place, signal);
    const entries = this.#identityEntries(place);
    if (entries.length === 0 && place.relative !== "") throw notFound(place);
    return entries;
  }
  async stat(path: string, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<FileStat | null> {
    const place = this.#place(path);
    if (place.area === "workspace") return this.#files.stat(place, signal);
    const parent = { ...place, relative: posix.dirname(place.relative).replace(/^\.$/, ""), shown: posix.dirname(place.shown) };
    if (place.relative === "") return { path: IDENTITY, name: ".marco", kind: "directory", size: 0, modified_at: this.#image?.at ?? new Date(0) };
    return this.#identityEntries(parent).find(({ path }) => path === place.shown) ?? null;
  }
  async delete(path: string, { recursive, signal }: { recursive?: boolean | undefined; signal?: AbortSignal | undefined } = {}) {
    return this.#files.delete(writablePlace(path, this.root), recursive, signal);
  }

  async *exec(command: string, options: ExecOptions = {}): AsyncGenerator<ExecEvent, void, undefined> {
    checkCommand(command, options);
    const place = this.#place(options.cwd ?? ".");
    if (place.area === "identity") throw new WorkspaceError("unsupported", `${place.shown} is not in the session: programs cannot run there`);
    if (place.relative !== "") {
      const stat = await this.#files.stat(place, options.signal);
      if (stat?.kind !== "directory") throw stat === null ? notFound(place) : new WorkspaceError("not_a_directory", `cwd: ${place.shown} is not a directory`);
    }
    const cwd = place.relative === "" ? this.root : `${this.root}/${place.relative}`;
    const shell = 'if command -v bash >/dev/null 2>&1; then bash -c "$1"; else sh -c "$1"; fi';
    const stop = new AbortController();
    const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal]);
    const began = performance.now();
    const queue: ExecEvent[] = [];
    let wake = () => {};
    const ended = runTask(this.#api, this.#session, { argv: ["sh", "-c", shell, "marco-exec", command], cwd, env: { MARCO_WORKSPACE: this.root, ...options.env }, stdin: options.stdin, signal, timeout_ms: options.timeout_ms }, (stream, bytes) => {
      queue.push({ type: "output", stream, bytes });
      wake();
    });
    let done = false;
    void ended.catch(() => {}).finally(() => {
      done = true;
      wake();
    });
    try {
      for (;;) {
        const next = queue.shift();
        if (next !== undefined) yield next;
        else if (done) break;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
      const { code, end } = await ended;
      yield { type: "exit", code, end, duration_ms: Math.round(performance.now() - began) };
    } finally {
      stop.abort();
      await ended.catch(() => {});
    }
  }

  async startJob(): Promise<never> {
    throw noJobs();
  }
  async jobs(): Promise<[]> {
    return [];
  }
  async readJob(): Promise<never> {
    throw noJobs();
  }
  async killJob(): Promise<never> {
    throw noJobs();
  }

  #place(path: string): Place {
    return placeOf(path, this.root);
  }

  /** What lies directly in a directory of the identity files. */
  #identityEntries({ relative, shown }: Place): FileStat[] {
    const found = new Map<string, FileStat>();
    for (const [path, bytes] of this.#image?.files ?? []) {
      if (relative !== "" && !path.startsWith(`${relative}/`)) continue;
      const [name = "", ...rest] = path.slice(relative === "" ? 0 : relative.length + 1).split("/");
      found.set(name, { path: `${shown}/${name}`, name, kind: rest.length > 0 ? "directory" : "file", size: rest.length > 0 ? 0 : bytes.length, modified_at: this.#image?.at ?? new Date(0) });
    }
    return sorted([...found.values()]);
  }
}

const noJobs = () => new WorkspaceError("unsupported", "a session has no background jobs: its runner ends what a task leaves running");
