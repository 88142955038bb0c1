/** Owns the test of the four objects together: a session finds a host through its pool, and what happens reaches the tenant's bus. Only the daemon is played. */

import { newWebSocketRpcSession, RpcTarget } from "capnweb";
import { env } from "cloudflare:workers";
import { describe, expect, it, vi } from "vitest";
import { HOST_LINK_VERSION, newChildId, newId, sessionCreate, taskCreate, unwrap, type HostDoor, type RunnerReport, type Spawned, type SpawnSpec } from "../../sdk/protocol/index.ts";
import { hostInfoFor } from "../pool/sample.ts";
import { hostStub, sessionStub, tenantStub, type ObjectsEnv } from "../ports.ts";
import type { Actor } from "../rpc.ts";

const objects = env as unknown as ObjectsEnv;

class FakeDaemon extends RpcTarget {
  spawns: SpawnSpec[] = [];
  destroyed: string[] = [];
  async spawn(spec: SpawnSpec): Promise<Spawned> {
    this.spawns.push(spec);
    return { ok: true, provider: "process", sandbox: "process", isolation: "plain process" };
  }
  async destroy(runnerId: string): Promise<void> {
    this.destroyed.push(runnerId);
  }
  async forget(): Promise<void> {}
}

class Tenant {
  readonly id = newId("tenant", Date.now());
  readonly hostId = newId("host", Date.now());
  readonly actor: Actor = { tenant_id: this.id, key_id: "system", key_name: null };

  async connect(runners: RunnerReport[] = [], max_runners = 1) {
    const join = { tenant_id: this.id, host_id: this.hostId, pool: "default", labels: {} };
    const { webSocket } = await hostStub(objects, this.hostId).fetch("http://object/daemon", { headers: { upgrade: "websocket", "x-marionette-host": JSON.stringify(join) } });
    if (!webSocket) throw new Error("no link");
    webSocket.accept();
    const door = newWebSocketRpcSession<HostDoor>(webSocket);
    const daemon = new FakeDaemon();
    const welcome = await door.hello({ version: HOST_LINK_VERSION, info: hostInfoFor("host-a", { max_runners }), runners }, daemon as never);
    return { socket: webSocket, door, daemon, destroy: welcome.destroy };
  }

  async session() {
    const id = newId("session", Date.now());
    const stub = () => sessionStub(objects, id);
    const task = async () => unwrap(await stub().createTask(this.actor, newChildId("task", id, Date.now()), taskCreate.parse({ prompt: "go" })));
    unwrap(await stub().create(this.actor, id, newId("workspace", Date.now()), sessionCreate.parse({ agent: "example", api_key: "sk-key" })));
    return { id, stub, task, read: async () => unwrap(await stub().read(this.actor)) };
  }
}

const report = (spec: SpawnSpec, state: RunnerReport["state"]): RunnerReport => ({ runner_id: spec.runner_id, session_id: spec.session_id, epoch: spec.epoch, provider: "process", sandbox: "process", isolation: null, state, exit_code: state === "exited" ? 1 : null, reason: null });
const soon = (check: () => void | Promise<void>) => vi.waitFor(check, { timeout: 10_000, interval: 20 });

describe("session, pool, host and tenant", () => {
  it("bring a session to the first host that comes, and the next one when that is free again", async () => {
    const tenant = new Tenant();
    const first = await tenant.session();
    // With work to do it keeps its runner although others wait.
    await first.task();
    await soon(async () => expect((await first.read()).status_reason).toBe("no host in pool 'default' is online"));
    const { daemon } = await tenant.connect();
    await soon(() => expect(daemon.spawns).toMatchObject([{ session_id: first.id, epoch: 1 }]));
    const second = await tenant.session();
    await soon(async () => expect((await second.read()).status_reason).toBe("1 host matches, and it is full (1 of 1 runners)"));
    unwrap(await first.stub().terminate(tenant.actor));
    await soon(() => expect(daemon.spawns.at(-1)).toMatchObject({ session_id: second.id }));
    await soon(() => expect(daemon.destroyed).toEqual([daemon.spawns[0]?.runner_id]));
  });

  it("give a session another runner when its host says that the first has ended", async () => {
    const tenant = new Tenant();
    const { daemon, door } = await tenant.connect();
    const session = await tenant.session();
    await soon(() => expect(daemon.spawns.length).toBe(1));
    await session.task();
    const [spec] = daemon.spawns;
    if (!spec) throw new Error("no spawn");
    await door.report(report(spec, "exited"));
    await soon(() => expect(daemon.spawns.at(-1)).toMatchObject({ session_id: session.id, epoch: 2 }));
  });

  it("take the runner of a session that has nothing to do for one that has", async () => {
    const tenant = new Tenant();
    const { daemon } = await tenant.connect();
    const idle = await tenant.session();
    await soon(() => expect(daemon.spawns.length).toBe(1));
    const busy = await tenant.session();
    await busy.task();
    await soon(() => expect(daemon.spawns.at(-1)).toMatchObject({ session_id: busy.id }));
    await soon(async () => expect(await idle.read()).toMatchObject({ runner: null }));
    await soon(() => expect(daemon.destroyed).toEqual([daemon.spawns[0]?.runner_id]));
  });

  it("publish what happens on the tenant's bus", async () => {
    const tenant = new Tenant();
    const session = await tenant.session();
    await session.task();
    await soon(async () => {
      const { events } = await tenantStub(objects, tenant.id).readBus({});
      expect(events.map(({ type }) => type)).toEqual(expect.arrayContaining(["session.status", "task.created"]));
      expect(events.map(({ cursor }) => cursor)).toEqual(events.map((_, i) => i + 1));
    });
  });
});
