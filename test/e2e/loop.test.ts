import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { ConflictError, type Event } from "../../sdk/index.ts";
import { expand, viewerFrame, type EventBlock } from "../../sdk/protocol/index.ts";
import { steps } from "../support/agents.ts";
import { eventually } from "../support/eventually.ts";
import { all, of, said, startScene, type Scene } from "../support/scene.ts";

/** A task's log over a WebSocket, to its end. */
function overWebSocket(scene: Scene, sessionId: string, taskId: string): Promise<Event[]> {
  const socket = new WebSocket(`${scene.stack.url.replace(/^http/, "ws")}/api/v1/logs/${taskId}/stream?raw=true`, { headers: { authorization: `Bearer ${scene.stack.apiKey}` } });
  const events: Event[] = [];
  return new Promise((resolve, reject) => {
    socket.on("message", (data: Buffer) => {
      const frame = viewerFrame.parse(JSON.parse(data.toString()));
      if (frame.type === "error") reject(new Error(frame.error.message));
      // Not the socket's own end, which the runtime may put off.
      if (frame.type === "end") {
        resolve(events);
        socket.terminate();
      }
      if (frame.type !== "events") return;
      const { type: _, seqs, ...block } = frame;
      events.push(...expand(sessionId, block as EventBlock).map((event, i) => ({ ...event, seq: seqs?.[i] ?? event.seq })));
    });
    socket.once("close", () => reject(new Error("the stream closed before its end")));
    socket.once("error", reject);
  });
}

/** An event without the agent's own record. */
function bare(event: Event): Event {
  const { raw: _raw, ...rest } = event;
  return rest;
}

describe("one task with the example agent", () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await startScene();
  });
  afterAll(() => scene.close());

  it("is watched live in two ways, asked about, answered, leaves a file, and is read again later as it was", async () => {
    const { client } = scene;
    const session = await scene.session({ agent: "example", name: "first" });
    const task = await scene.task(session, "write down what I said");
    const [sse, socket] = [all(client.tasks.logs(task.id, { follow: true, raw: true })), overWebSocket(scene, session.id, task.id)];

    const command = await scene.asked(task);
    expect(command).toMatchObject({ session_id: session.id, task_id: task.id, status: "pending", tool: "Bash", summary: expect.stringMatching(/^echo .* >> hello-marionette.md/) as unknown, decision: null });
    expect(command.reasons.length).toBeGreaterThan(0);
    expect(await client.sessions.get(session.id)).toMatchObject({ status: "active", task_id: task.id, pending_permissions: 1, runner: { provider: "process", state: "connected" } });
    expect(await client.permissions.approve(command.id, { scope: "once", reason: "go on" })).toMatchObject({ status: "approved", decision: { reason: "go on", scope: "once" } });

    expect(await scene.end(task)).toMatchObject({ status: "completed", attempts: 1, exit_code: 0, error: null, result: "Done: your task is noted in hello-marionette.md." });
    expect(await client.sessions.files.text(session.id, "hello-marionette.md")).toBe("- write down what I said\n");
    expect((await client.sessions.files.list(session.id)).map(({ name }) => name)).toEqual(["hello-marionette.md"]);

    const [bySse, bySocket, later] = [await sse, await socket, await all(client.tasks.logs(task.id, { raw: true }))];
    expect(later.length).toBeGreaterThan(50);
    expect(bySse).toEqual(later);
    expect(bySocket).toEqual(later);
    const whole = await all(client.sessions.events(session.id));
    expect(whole.map(({ seq }) => seq)).toEqual(whole.map((_, i) => i + 1));
    expect(whole.filter(({ task_id }) => task_id === task.id)).toEqual(later.map(bare));
    expect(said(later).join("\n")).toContain("Thank you. It said: 1 hello-marionette.md");
    expect(of(later, "message.delta").map(({ text }) => text).join("")).toBe(said(later).join(""));
    expect(of(later, "permission.answered").map(({ status, scope }) => [status, scope])).toEqual([["approved", "once"]]);
    expect(of(later, "file.changed")).toEqual([expect.objectContaining({ path: "hello-marionette.md", change: "created" })]);
    expect(of(whole, "runner.attached")).toEqual([expect.objectContaining({ host_id: scene.host.id, provider: "process" })]);
  });

  it("goes on without what was denied, and the agent is told why", async () => {
    const session = await scene.session({ agent: "example" });
    const task = await scene.task(session, "hello");
    const asked = await scene.asked(task);
    await scene.client.permissions.deny(asked.id, { reason: "not on a Saturday" });
    expect(await scene.end(task)).toMatchObject({ status: "completed" });
    const log = await scene.log(task);
    expect(said(log).join("\n")).toContain("You would rather I did not (not on a Saturday).");
    expect(of(log, "tool.result")).toEqual([expect.objectContaining({ is_error: true, output: "not allowed (not on a Saturday)" })]);
    expect(await scene.client.sessions.files.list(session.id)).toEqual([]);
  });

  it("tells whoever answers second what was decided", async () => {
    const session = await scene.session();
    const task = await scene.task(session, steps(["ask", "Bash", { command: "curl https://example.org" }]));
    const asked = await scene.asked(task);
    await scene.client.permissions.deny(asked.id, { reason: "no network" });
    const late = await scene.client.permissions.approve(asked.id).catch((error: unknown) => error);
    expect(late).toBeInstanceOf(ConflictError);
    expect(late).toMatchObject({ status: 409, details: { status: "denied" } });
    expect((late as Error).message).toMatch(/denied/);
    await scene.end(task);
    expect(said(await scene.log(task))).toEqual(["Bash: denied: no network"]);
    expect(await scene.client.permissions.deny(asked.id).catch((error: unknown) => error)).toBeInstanceOf(ConflictError);
  });

  it("lets viewers go as soon as they say goodbye", async () => {
    const session = await scene.session();
    for (const path of [`sessions/${session.id}/events`, "events"]) {
      const socket = new WebSocket(`${scene.stack.url.replace(/^http/, "ws")}/api/v1/${path}`, { headers: { authorization: `Bearer ${scene.stack.apiKey}` } });
      await once(socket, "open");
      socket.close(1000, "seen enough");
      // 1006 would say that the connection broke.
      expect((await once(socket, "close"))[0]).not.toBe(1006);
    }
  });

  it("says honestly what holds the agent", async () => {
    const session = await scene.session();
    await scene.end(await scene.task(session, "hello"));
    const { runner } = await scene.client.sessions.get(session.id);
    const host = await scene.client.hosts.get(scene.host.id);
    const provider = host.providers.find(({ name }) => name === "process");
    expect(runner).toMatchObject({ host_id: host.id, provider: "process", sandbox: provider?.sandbox });
    if (runner?.sandbox === "bubblewrap") expect(runner.isolation).toMatch(/bubblewrap.*no limits of memory.*the host's network/);
    else expect(runner?.isolation).toMatch(/^none: a plain process/);
    await eventually("the runner's own record says it too", async () => (await scene.client.runners.get(runner?.id ?? "")).isolation === runner?.isolation);
  });
});
