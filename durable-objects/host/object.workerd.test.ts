/** Owns the tests of the HostObject in the runtime, with a real Cap'n Web daemon at the other end. Pool, sessions and database are played by the test. */

import { describe, expect, it } from "vitest";
import { CLOSE, HOST_LINK_VERSION } from "../../sdk/protocol/index.ts";
import { hostInfoFor, sampleId } from "../pool/sample.ts";
import { HOST, JOIN, actor, SECRET, specFor, reportFor, inHost, settled } from "./fixture.ts";
import { FINAL_VERSION } from "./machine.ts";

describe("a host's daemon", () => {
  it("is welcomed, joins its token's pool with its token's labels, and shows as online", () =>
    inHost("join", async (world) => {
      const host = world.make();
      expect(await host.read(actor)).toMatchObject({ ok: false, error: { code: "not_found" } });
      const { welcome } = await world.join(host);
      expect(welcome).toEqual({ version: HOST_LINK_VERSION, host_id: HOST, destroy: [] });
      await settled(() => expect(world.told).toEqual([["up", "blue", HOST, { gpu: "nvidia" }, false]]));
      expect(await host.read(actor)).toMatchObject({ ok: true, value: { id: HOST, status: "online", pool: "blue", name: "host-a", version: 1 } });
      await settled(() => expect(world.rows).toMatchObject([{ resource: "host", value: { status: "online" } }]));
      expect(await host.read({ ...actor, tenant_id: sampleId("ten", 2) })).toMatchObject({ ok: false, error: { code: "not_found" } });
    }));

  it("is looked for by an alarm while it is connected, so that one whose object died meanwhile does not stay online for ever", () =>
    inHost("look", async (world) => {
      const host = world.make();
      const { socket } = await world.join(host);
      await settled(async () => expect(await world.state.storage.getAlarm()).toBeGreaterThan(Date.now()));
      await host.alarm();
      await settled(async () => expect(await world.state.storage.getAlarm()).toBeGreaterThan(Date.now() + 15_000));
      // Another life of the object, woken by nothing but that alarm.
      const again = world.make();
      await again.alarm();
      await settled(() => expect(world.told.at(-1)).toEqual(["down", "blue", HOST]));
      await settled(() => expect(world.rows.at(-1)).toMatchObject({ value: { status: "offline" } }));
      socket.close(1000, "bye");
    }));

  it("leaves its pool when the link closes", () =>
    inHost("close", async (world) => {
      const host = world.make();
      const { socket } = await world.join(host);
      await settled(() => expect(world.told.length).toBe(1));
      socket.close(1000, "bye");
      await settled(() => expect(world.told.at(-1)).toEqual(["down", "blue", HOST]));
      expect(await host.read(actor)).toMatchObject({ value: { status: "offline" } });
      expect(await host.spawn(specFor(1))).toMatchObject({ ok: false, error: { code: "unavailable", message: "host host-a is not connected" } });
    }));

  it("is taken to be gone when it falls silent, though its connection never says so; one that never promised to be heard is not", () =>
    inHost("silence", async (world) => {
      const host = world.make();
      const { door } = await world.join(host);
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(await host.read(actor)).toMatchObject({ value: { status: "online" } });
      for (let i = 0; i < 5; i++) {
        await door.alive(100);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      expect(await host.read(actor)).toMatchObject({ value: { status: "online" } });
      await settled(async () => expect(await host.read(actor)).toMatchObject({ value: { status: "offline" } }));
      await settled(() => expect(world.told.at(-1)).toEqual(["down", "blue", HOST]));
    }));

  it("is refused when it is not this tenant's, or the header is not what the worker writes", () =>
    inHost("foreign", async (world) => {
      const host = world.make();
      await world.join(host);
      expect(await world.connect(host, { ...JOIN, tenant_id: sampleId("ten", 2) })).toMatchObject({ status: 404 });
      expect(await world.connect(host, { ...JOIN, more: 1 })).toMatchObject({ status: 400 });
      expect((await host.fetch(new Request("http://object/daemon"))).status).toBe(400);
    }));

  it.each<[string, unknown, boolean, number]>([
    ["of an unknown version", { version: 99, info: hostInfoFor("a"), runners: [] }, true, CLOSE.version],
    ["that is malformed", { version: HOST_LINK_VERSION, info: { name: "" }, runners: [] }, true, CLOSE.protocol],
    ["that is no object", "hello", true, CLOSE.protocol],
    ["without a daemon", { version: HOST_LINK_VERSION, info: hostInfoFor("a"), runners: [] }, false, CLOSE.protocol],
  ])("is cut off after a hello %s, and the good connection stays", (name, hello, withDaemon, code) =>
    inHost(`bad ${name}`, async (world) => {
      const host = world.make();
      const good = await world.join(host);
      const bad = await world.connect(host);
      await expect(bad.door.hello(hello as never, (withDaemon ? bad.daemon : null) as never)).rejects.toThrow(/hello|version/);
      await settled(() => expect(bad.closed).toBe(code));
      expect(await host.spawn(specFor(1))).toMatchObject({ ok: true });
      expect(good.link.closed).toBeNull();
    }));

  it("is cut off after a malformed report, which changes nothing", () =>
    inHost("bad report", async (world) => {
      const host = world.make();
      const { door, link } = await world.join(host);
      await expect(door.report({ ...reportFor(1), epoch: -1 })).rejects.toThrow(/epoch/);
      await settled(() => expect(link.closed).toBe(CLOSE.protocol));
      await settled(async () => expect(await host.read(actor)).toMatchObject({ value: { status: "offline" } }));
    }));

  it("is replaced by its next connection without ever being offline", () =>
    inHost("replace", async (world) => {
      const host = world.make();
      const first = await world.join(host);
      const second = await world.join(host);
      await settled(() => expect(first.link.closed).toBe(CLOSE.replaced));
      expect(await host.spawn(specFor(1))).toMatchObject({ ok: true });
      expect([first.daemon.calls.length, second.daemon.calls.length]).toEqual([0, 1]);
      expect(world.told.map(([what]) => what)).not.toContain("down");
    }));

  it("leaves its old pool when its token says another", () =>
    inHost("move", async (world) => {
      const host = world.make();
      await world.join(host);
      await settled(() => expect(world.told.length).toBe(1));
      await world.join(host, [], { ...JOIN, pool: "green" });
      await settled(() => expect(world.told.slice(1).map(([what, pool]) => `${String(what)} ${String(pool)}`).sort()).toEqual(["down blue", "up green"]));
    }));
});

describe("a runner", () => {
  it("is spawned with its secrets, of which nothing is stored", () =>
    inHost("spawn", async (world) => {
      const host = world.make();
      const { daemon } = await world.join(host);
      expect(await host.spawn(specFor(1))).toEqual({ ok: true, value: daemon.answer });
      expect(await host.spawn(specFor(1))).toEqual({ ok: true, value: daemon.answer });
      expect(daemon.calls).toEqual([["spawn", sampleId("run", 1), SECRET], ["spawn", sampleId("run", 1), SECRET]]);
      for (const secret of [SECRET, "value-of-env"]) expect(world.stored()).not.toContain(secret);
      expect(await host.read(actor)).toMatchObject({ value: { runners: 1 } });
      expect(await host.runners(actor)).toMatchObject({ value: [{ runner_id: sampleId("run", 1), state: "running" }] });
      expect(await host.spawn(specFor(2, { tenant_id: sampleId("ten", 2) }))).toMatchObject({ ok: false, error: { code: "not_found" } });
    }));

  it("that cannot be started is answered with why, and not wanted any more", () =>
    inHost("refused", async (world) => {
      const host = world.make();
      const { daemon } = await world.join(host);
      daemon.answer = { ok: false, error: { code: "image_missing", message: "no image", hint: "npm run image" }, retryable: false };
      expect(await host.spawn(specFor(1))).toEqual({ ok: true, value: daemon.answer });
      expect(await host.read(actor)).toMatchObject({ value: { runners: 0 } });
    }));

  it("is answered unavailable when the daemon answers nonsense, which ends the link", () =>
    inHost("nonsense", async (world) => {
      const host = world.make();
      const { daemon, link } = await world.join(host);
      daemon.answer = { ok: "yes" };
      expect(await host.spawn(specFor(1))).toMatchObject({ ok: false, error: { code: "unavailable" } });
      await settled(() => expect(link.closed).toBe(CLOSE.protocol));
    }));

  it("whose answer is lost with the link is adopted when the daemon comes back with it", () =>
    inHost("lost answer", async (world) => {
      const host = world.make();
      const { daemon, socket } = await world.join(host);
      daemon.pending = new Promise(() => {});
      const answer = host.spawn(specFor(1));
      await settled(() => expect(daemon.calls.length).toBe(1));
      socket.close();
      expect(await answer).toMatchObject({ ok: false, error: { code: "unavailable" } });
      const { welcome } = await world.join(host, [reportFor(1), reportFor(2)]);
      expect(welcome.destroy).toEqual([sampleId("run", 2)]);
      expect(world.told.map(([what]) => what)).not.toContain("gone");
    }));

  it("that is gone after a reconnect, or reported as ended, is lost to its session until that has heard it", () =>
    inHost("gone", async (world) => {
      const host = world.make();
      const { door } = await world.join(host);
      await host.spawn(specFor(1));
      await host.spawn(specFor(2));
      await settled(() => expect(world.rows.at(-1)).toMatchObject({ value: { runners: 2 } }));
      world.failures = 3;
      await door.report(reportFor(1, { state: "exited", exit_code: 0, reason: "stopped in order" }));
      const gone = (n: number, reason: string) => ["gone", sampleId("sess", n), 1, sampleId("run", n), reason];
      await settled(async () => {
        await host.alarm();
        expect(world.told).toContainEqual(gone(1, "stopped in order"));
        expect(world.rows).toContainEqual({ resource: "runner", value: expect.objectContaining({ id: sampleId("run", 1), status: "destroyed", status_reason: "stopped in order", version: FINAL_VERSION }) });
      });
      const { welcome } = await world.join(host, [reportFor(1)]);
      expect(welcome.destroy).toEqual([sampleId("run", 1)]);
      await settled(() => expect(world.told).toContainEqual(gone(2, "its host does not have it any more")));
    }));

  it("is destroyed at once, or when the daemon comes back", () =>
    inHost("destroy", async (world) => {
      const host = world.make();
      const { daemon, socket } = await world.join(host);
      await host.spawn(specFor(1));
      await host.spawn(specFor(2));
      await host.destroy(sampleId("run", 1), "the session ended");
      await settled(() => expect(daemon.calls).toContainEqual(["destroy", sampleId("run", 1), "the session ended"]));
      socket.close();
      await settled(async () => expect(await host.read(actor)).toMatchObject({ value: { status: "offline" } }));
      await host.destroy(sampleId("run", 2), "the session ended");
      await host.forget(sampleId("sess", 2));
      const back = await world.join(world.make(), [reportFor(2)]);
      expect(back.welcome.destroy).toEqual([sampleId("run", 2)]);
      await settled(() => expect(back.daemon.calls).toEqual([["forget", sampleId("sess", 2)]]));
      await settled(() => expect(world.stored()).not.toContain(`forgets\\":[\\"${sampleId("sess", 2)}`));
    }));

  it("that is destroyed while it starts is destroyed again once it has", () =>
    inHost("destroy early", async (world) => {
      const host = world.make();
      const { daemon } = await world.join(host);
      const { promise, resolve } = Promise.withResolvers<void>();
      daemon.pending = promise;
      const answer = host.spawn(specFor(1));
      await settled(() => expect(daemon.calls.length).toBe(1));
      await host.destroy(sampleId("run", 1), "changed my mind");
      resolve();
      await answer;
      await settled(() => expect(daemon.calls.filter(([what]) => what === "destroy").length).toBe(2));
      expect(await host.read(actor)).toMatchObject({ value: { runners: 0 } });
    }));

  it("of an older attachment is displaced by a newer one of the same session", () =>
    inHost("displace", async (world) => {
      const host = world.make();
      const { daemon } = await world.join(host);
      await host.spawn(specFor(1));
      await host.spawn(specFor(2, { session_id: sampleId("sess", 1), epoch: 2 }));
      await settled(() => expect(daemon.calls).toContainEqual(["destroy", sampleId("run", 1), "displaced by a newer attachment"]));
      expect(await host.read(actor)).toMatchObject({ value: { runners: 1 } });
    }));
});

describe("a host", () => {
  it("serves files of its tenant's workspaces", () =>
    inHost("files", async (world) => {
      const host = world.make();
      const workspace = sampleId("ws", 1);
      const { socket } = await world.join(host);
      expect(await host.listFiles(actor, workspace, "")).toMatchObject({ ok: true, value: [{ name: "a" }] });
      expect(await host.listFiles(actor, workspace, "none")).toMatchObject({ ok: false, error: { code: "not_found", message: "none does not exist" } });
      expect(await host.readFile(actor, workspace, "a", 0, 3)).toMatchObject({ ok: true, value: { base64: "YWJj" } });
      expect(await host.readFile(actor, workspace, "broken", 0, 3)).toMatchObject({ ok: false, error: { code: "unavailable" } });
      expect(await host.listFiles({ ...actor, tenant_id: sampleId("ten", 2) }, workspace, "")).toMatchObject({ ok: false, error: { code: "not_found" } });
      expect(await host.read(actor)).toMatchObject({ value: { status: "online" } });
      socket.close();
      await settled(async () => expect(await host.listFiles(actor, workspace, "")).toMatchObject({ ok: false, error: { code: "unavailable" } }));
    }));

  it("lets its own tenant browse what its configuration opens", () =>
    inHost("browse", async (world) => {
      const host = world.make();
      const { daemon } = await world.join(host);
      expect(await host.browse(actor, "/srv", "project", 0, 10)).toMatchObject({ ok: true, value: { items: [{ name: ".git" }], total: 1 } });
      expect(await host.browse(actor, "/etc", "", 0, 10)).toMatchObject({ ok: false, error: { code: "bad_request", message: "root: expected one of /srv" } });
      expect(await host.readBrowsed(actor, "/srv", "a", 0, 3)).toMatchObject({ ok: true, value: { base64: "YWJj" } });
      const calls = daemon.calls.length;
      for (const answer of [await host.browse({ ...actor, tenant_id: sampleId("ten", 2) }, "/srv", "", 0, 10), await host.readBrowsed({ ...actor, tenant_id: sampleId("ten", 2) }, "/srv", "a", 0, 3)]) {
        expect(answer).toMatchObject({ ok: false, error: { code: "not_found" } });
      }
      expect(daemon.calls.length).toBe(calls);
    }));

  it("that drains tells its pool and its readers", () =>
    inHost("drain", async (world) => {
      const host = world.make();
      await world.join(host);
      expect(await host.drain(actor, true)).toMatchObject({ ok: true, value: { status: "draining" } });
      await settled(() => expect(world.told.at(-1)).toEqual(["up", "blue", HOST, { gpu: "nvidia" }, true]));
      expect(await host.drain({ ...actor, tenant_id: sampleId("ten", 2) }, false)).toMatchObject({ ok: false, error: { code: "not_found" } });
    }));

  it("knows after an eviction that nobody is connected, tells its pool, and takes the runners up again", () =>
    inHost("evicted", async (world) => {
      const host = world.make();
      await world.join(host);
      await host.spawn(specFor(1));
      await settled(() => expect(world.told.length).toBe(1));
      const after = world.make();
      await settled(() => expect(world.told.at(-1)).toEqual(["down", "blue", HOST]));
      const { welcome } = await world.join(after, [reportFor(1)]);
      expect(welcome.destroy).toEqual([]);
      expect(await after.runners(actor)).toMatchObject({ value: [{ runner_id: sampleId("run", 1) }] });
      await settled(() => expect(world.told.at(-1)?.[0]).toBe("up"));
    }));
});

describe("a host that holds runners", () => {
  it("passes the order on, tells what was done, and lets go of what was ended", () =>
    inHost("hold", async (world) => {
      const host = world.make();
      expect(await host.suspend(sampleId("run", 1), "pause", null)).toMatchObject({ ok: false, error: { code: "unavailable" } });
      const { daemon, door } = await world.join(host);
      expect(await host.suspend(sampleId("run", 1), "pause", null)).toMatchObject({ ok: true, value: { ok: false, error: { code: "runner_lost" } } });
      await host.spawn(specFor(1));
      expect(await host.suspend(sampleId("run", 1), "pause", "terminate_preserve_storage")).toMatchObject({ value: { ok: true, strategy: "pause" } });
      expect(await host.runners(actor)).toMatchObject({ value: [{ state: "suspended" }] });
      await door.report(reportFor(1, { state: "suspended" }));
      expect(await host.resume(sampleId("run", 1))).toEqual({ ok: true, value: { ok: true } });
      expect(await host.runners(actor)).toMatchObject({ value: [{ state: "running" }] });
      daemon.held = { ok: true, strategy: "terminate_preserve_storage", detail: "the freezer is broken" };
      expect(await host.suspend(sampleId("run", 1), "pause", "terminate_preserve_storage")).toMatchObject({ value: { strategy: "terminate_preserve_storage" } });
      expect(await host.runners(actor)).toEqual({ ok: true, value: [] });
      expect(await host.resume(sampleId("run", 1))).toMatchObject({ value: { ok: false, gone: true } });
      await door.report(reportFor(1, { state: "exited" }));
      expect(world.told.map(([what]) => what)).not.toContain("gone");
      expect(daemon.calls.map(([what]) => what)).toEqual(["spawn", "suspend", "resume", "suspend"]);
    }));

  it("removes a session's files once its runner has ended, also after its daemon was away", () =>
    inHost("discard", async (world) => {
      const host = world.make();
      const { daemon, socket } = await world.join(host);
      await host.spawn(specFor(1));
      daemon.inUse = true;
      await host.discardFiles(sampleId("sess", 1), sampleId("ws", 1));
      await settled(() => expect(daemon.calls.filter(([what]) => what === "discardFiles")).toHaveLength(1));
      socket.close(1000, "bye");
      await settled(async () => expect(await host.read(actor)).toMatchObject({ value: { status: "offline" } }));
      const again = await world.connect(host);
      again.daemon.inUse = true;
      await again.door.hello({ version: HOST_LINK_VERSION, info: hostInfoFor("host-a"), runners: [reportFor(1)] }, again.daemon);
      await settled(() => expect(again.daemon.calls.map(([what]) => what)).toEqual(["discardFiles"]));
      again.daemon.inUse = false;
      await again.door.report(reportFor(1, { state: "exited" }));
      await settled(() => expect(again.daemon.calls).toHaveLength(2));
      await settled(() => expect(world.stored()).not.toContain('discards\\":[{'));
    }));
});
