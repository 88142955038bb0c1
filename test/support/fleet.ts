/** Owns a host whose runners all live in this process: a real host link and real runner links, with a scripted adapter in place of an agent. */

import { once } from "node:events";
import { newWebSocketRpcSession, RpcTarget, type RpcStub } from "capnweb";
import { WebSocket } from "ws";
import type { Adapter } from "../../agent/adapters/adapter.ts";
import { createRunner, type Runner } from "../../agent/runner/runner.ts";
import {
  HOST_LINK_VERSION, hostWelcome,
  type Browsed, type Daemon, type FileAnswer, type FileContent, type FileEntry, type HostDoor, type HostInfo, type RunnerReport, type Resumed, type Spawned, type SpawnSpec, type Suspended,
} from "../../sdk/protocol/index.ts";

export interface Fleet {
  /** Runners that live now, by session. */
  readonly runners: ReadonlyMap<string, Runner>;
  /** How many were started. */
  readonly started: number;
  close(): Promise<void>;
}

export interface FleetOptions {
  url: string;
  /** A runner token. */
  token: string;
  size: number;
  adapter: Adapter;
  /** Told of every spawn as it arrives. */
  onSpawn?: (spec: SpawnSpec) => void;
}

const NOT_HERE: { ok: false; code: "not_found"; message: string } = { ok: false, code: "not_found", message: "this host keeps no files" };

class FleetDaemon extends RpcTarget implements Daemon {
  readonly runners = new Map<string, Runner>();
  readonly byId = new Map<string, Runner>();
  started = 0;
  readonly #options: FleetOptions;
  door: RpcStub<HostDoor> | null = null;

  constructor(options: FleetOptions) {
    super();
    this.#options = options;
  }

  async spawn(spec: SpawnSpec): Promise<Spawned> {
    const answer: Spawned = { ok: true, provider: "process", sandbox: "process", isolation: "none: runs in the bench's own process" };
    if (this.byId.has(spec.runner_id)) return answer;
    this.#options.onSpawn?.(spec);
    this.started++;
    const runner = await createRunner({
      journal: "memory",
      adapter: this.#options.adapter,
      spec: {
        runner_id: spec.runner_id, session_id: spec.session_id, epoch: spec.epoch, run_token: spec.run_token, server: this.#options.url, model: null, env: {}, keep_raw: false,
        needs_key: false, workspace: "/", home: "/", state: "/", agent_name: spec.agent, agent: { name: spec.agent, adapter: "custom", binary: "true", args: [], env: {} },
      },
    });
    this.runners.set(spec.session_id, runner);
    this.byId.set(spec.runner_id, runner);
    void runner.ended.then(async () => {
      this.byId.delete(spec.runner_id);
      if (this.runners.get(spec.session_id) === runner) this.runners.delete(spec.session_id);
      const { runner_id, session_id, epoch } = spec;
      await this.door?.report({ runner_id, session_id, epoch, provider: "process", sandbox: "process", isolation: null, state: "exited", exit_code: 0, reason: "stopped" }).catch(() => {});
    });
    return answer;
  }
  async destroy(runnerId: string): Promise<void> {
    this.byId.get(runnerId)?.stop("destroyed");
  }
  async forget(): Promise<void> {}
  async suspend(): Promise<Suspended> {
    return { ok: false, error: { code: "provider_failed", message: "runners in the bench's own process cannot be suspended" } };
  }
  async resume(): Promise<Resumed> {
    return { ok: false, gone: true, error: { code: "provider_failed", message: "runners in the bench's own process cannot be suspended" } };
  }
  async discardFiles(): Promise<void> {}
  async listFiles(): Promise<FileAnswer<FileEntry[]>> {
    return NOT_HERE;
  }
  async readFile(): Promise<FileAnswer<FileContent>> {
    return NOT_HERE;
  }
  async browse(): Promise<FileAnswer<Browsed>> {
    return NOT_HERE;
  }
  async readBrowsed(): Promise<FileAnswer<FileContent>> {
    return NOT_HERE;
  }
}

/** Joins as a host with room for `size` runners and waits for its welcome. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const daemon = new FleetDaemon(options);
  const socket = new WebSocket(`${options.url.replace(/^http/, "ws")}/links/host`, { headers: { authorization: `Bearer ${options.token}` }, perMessageDeflate: false });
  await once(socket, "open");
  const info: HostInfo = {
    name: "fleet", version: "0.1.0", os: "linux", arch: "x64", cpus: 2, memory_mb: 1_024, labels: {}, pool: "default", max_runners: options.size, default_provider: "process",
    providers: [{ name: "process", sandbox: "process", available: true, detail: "in process", capabilities: { isolation: "none", pause: false, snapshot: false, limits: false, network_policy: false } }],
    agents: [{ name: "scripted", available: true, detail: "in process" }],
  };
  const door = newWebSocketRpcSession<HostDoor>(socket as unknown as globalThis.WebSocket);
  daemon.door = door;
  const none: RunnerReport[] = [];
  hostWelcome.parse(await door.hello({ version: HOST_LINK_VERSION, info, runners: none }, daemon));
  return {
    runners: daemon.runners,
    get started() {
      return daemon.started;
    },
    close: async () => {
      for (const runner of daemon.runners.values()) runner.kill();
      socket.close();
      await once(socket, "close");
    },
  };
}
