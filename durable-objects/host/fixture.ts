/** Owns the world of a HostObject under test: a real Cap'n Web daemon at the other end; pool, sessions and database are played. */

import { newWebSocketRpcSession, RpcTarget, type RpcStub } from "capnweb";
import { env } from "cloudflare:workers";
import { runInDurableObject } from "cloudflare:test";
import { vi } from "vitest";
import { HOST_LINK_VERSION, type Browsed, type FileAnswer, type FileContent, type FileEntry, type HostDoor, type RunnerReport, type Spawned, type SpawnSpec } from "../../sdk/protocol/index.ts";
import type { ObjectsEnv, Row } from "../ports.ts";
import { hostInfoFor, sampleId } from "../pool/sample.ts";
import type { Actor, HostJoin } from "../rpc.ts";
import { hostObject } from "./object.ts";

const objects = env as unknown as ObjectsEnv;
const TENANT = sampleId("ten", 1);
export const HOST = sampleId("host", 1);
export const JOIN: HostJoin = { tenant_id: TENANT, host_id: HOST, pool: "blue", labels: { gpu: "nvidia" } };
export const actor: Actor = { tenant_id: TENANT, key_id: "system", key_name: null };
export const SECRET = "gtok_never_stored";

export const specFor = (n: number, more: Partial<SpawnSpec> = {}): SpawnSpec => ({
  runner_id: sampleId("run", n), session_id: sampleId("sess", n), tenant_id: TENANT, workspace_id: sampleId("ws", n), epoch: 1, run_token: SECRET, agent: "example", model: null,
  provider: null, env: { HIDDEN: "value-of-env" }, keep_raw: true, needs_key: true, ...more,
});
export const reportFor = (n: number, more: Partial<RunnerReport> = {}): RunnerReport => ({ runner_id: sampleId("run", n), session_id: sampleId("sess", n), epoch: 1, provider: "process", sandbox: "process", isolation: "none", state: "running", exit_code: null, reason: null, ...more });

class FakeDaemon extends RpcTarget {
  calls: unknown[][] = [];
  answer: unknown = { ok: true, provider: "process", sandbox: "process", isolation: "plain process" } satisfies Spawned;
  pending: Promise<void> | null = null;
  async spawn(spec: SpawnSpec): Promise<Spawned> {
    this.calls.push(["spawn", spec.runner_id, spec.run_token]);
    await this.pending;
    return this.answer as Spawned;
  }
  async destroy(runnerId: string, reason: string): Promise<void> {
    this.calls.push(["destroy", runnerId, reason]);
  }
  async forget(sessionId: string): Promise<void> {
    this.calls.push(["forget", sessionId]);
  }
  held: unknown = { ok: true, strategy: "pause", detail: "" };
  thawed: unknown = { ok: true };
  inUse = false;
  async suspend(runnerId: string, strategy: string, fallback: string | null): Promise<unknown> {
    this.calls.push(["suspend", runnerId, strategy, fallback]);
    return this.held;
  }
  async resume(runnerId: string): Promise<unknown> {
    this.calls.push(["resume", runnerId]);
    return this.thawed;
  }
  async discardFiles(sessionId: string, workspaceId: string): Promise<void> {
    this.calls.push(["discardFiles", sessionId, workspaceId]);
    if (this.inUse) throw new Error("a runner uses them");
  }
  async listFiles(_workspace: string, path: string): Promise<FileAnswer<FileEntry[]>> {
    return path === "none" ? { ok: false, code: "not_found", message: "none does not exist" } : { ok: true, value: [{ name: "a", path: "a", kind: "file", size: 1, modified_at: "2026-01-01T00:00:00.000Z" }] };
  }
  async readFile(_workspace: string, path: string, offset: number): Promise<FileAnswer<FileContent>> {
    if (path === "broken") throw new Error("EIO");
    return { ok: true, value: { path, size: 3, offset, base64: "YWJj", modified_at: "2026-01-01T00:00:00.000Z" } };
  }
  async browse(root: string, path: string, offset: number, limit: number): Promise<FileAnswer<Browsed>> {
    this.calls.push(["browse", root, path, offset, limit]);
    if (root !== "/srv") return { ok: false, code: "bad_request", message: "root: expected one of /srv" };
    return { ok: true, value: { items: [{ name: ".git", path: ".git", kind: "directory", size: 0, modified_at: "2026-01-01T00:00:00.000Z" }], total: 1 } };
  }
  readBrowsed(root: string, path: string, offset: number): Promise<FileAnswer<FileContent>> {
    return this.readFile(root, path, offset);
  }
}

type HostInstance = InstanceType<ReturnType<typeof hostObject<ObjectsEnv>>>;
class World {
  told: unknown[][] = [];
  rows: Row[] = [];
  failures = 0;
  readonly state: DurableObjectState;
  constructor(state: DurableObjectState) {
    this.state = state;
  }
  #hear(...what: unknown[]) {
    if (this.failures-- > 0) throw new Error("not now");
    this.told.push(what);
  }
  make(): HostInstance {
    const apply = async (rows: Row[]) => {
      if (this.failures-- > 0) throw new Error("no database");
      this.rows.push(...rows);
    };
    const Host = hostObject<ObjectsEnv>(() => ({ projection: { apply } }), {
      session: (_env, id) => ({ runnerGone: async (epoch, runner, reason) => this.#hear("gone", id, epoch, runner, reason) }),
      pool: (_env, _tenant, pool) => ({
        memberUp: async (_t, id, info, draining) => this.#hear("up", pool, id, info.labels, draining),
        memberDown: async (id) => this.#hear("down", pool, id),
      }),
    });
    return new Host(this.state, objects);
  }
  /** Connects a daemon; its socket's close code is kept. */
  async connect(host: HostInstance, join: unknown = JOIN) {
    const response = await host.fetch(new Request("http://object/daemon", { headers: { upgrade: "websocket", "x-marionette-host": JSON.stringify(join) } }));
    const socket = response.webSocket;
    if (!socket) return { status: response.status, body: await response.json() } as never;
    const link = { socket, daemon: new FakeDaemon(), door: undefined as unknown as RpcStub<HostDoor>, closed: null as number | null };
    socket.addEventListener("close", ({ code }) => void (link.closed = code));
    socket.accept();
    link.door = newWebSocketRpcSession<HostDoor>(socket);
    return link;
  }
  async join(host: HostInstance, runners: RunnerReport[] = [], join: unknown = JOIN) {
    const link = await this.connect(host, join);
    const welcome = await link.door.hello({ version: HOST_LINK_VERSION, info: hostInfoFor("host-a"), runners }, link.daemon as never);
    return { ...link, link, welcome };
  }
  stored(): string {
    const { sql } = this.state.storage;
    const tables = sql.exec<{ name: string }>("select name from sqlite_master where type = 'table' and name not like '%cf_%'").toArray();
    return JSON.stringify(tables.map(({ name }) => sql.exec(`select * from "${name}"`).toArray()));
  }
}

export async function inHost(name: string, test: (world: World) => Promise<void>) {
  const stub = objects.TENANTS.get(objects.TENANTS.idFromName(`host/${name}`));
  await runInDurableObject(stub, async (_instance, state) => test(new World(state)));
}
export const settled = (check: () => void | Promise<void>) => vi.waitFor(check, { timeout: 5_000 });
