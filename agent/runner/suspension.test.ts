import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newChildId } from "../../sdk/protocol/index.ts";
import { inProcess, RunnerStage, steps } from "../../test/support/runner-stage.ts";
import type { SessionServer } from "../../test/support/session-server.ts";

let stage: RunnerStage;
let server: SessionServer;
beforeEach(async () => {
  stage = await RunnerStage.start();
  ({ server } = stage);
});
afterEach(async () => expect(await stage.close()).toEqual([]));

describe("a suspension", () => {
  const capsuleOf = () => newChildId("capsule", server.session_id, Date.now());
  const failed = (capsule_id: string) => server.until("the capsule is answered", () => server.of("workspace.sync_failed").find((data) => data.capsule_id === capsule_id));

  it("ends the agent where it stands: its run is suspended, its question still waits, and its conversation is told", async () => {
    await stage.runner();
    const { run_id } = server.task(steps(["ask", "Bash", { command: "touch x" }]), { conversation: "kept" });
    const { permission_id } = await server.until("it asks", () => server.of("permission.requested", run_id)[0]);
    const capsule_id = capsuleOf();
    server.command({ kind: "capsule", capsule_id, why: "suspend", stop_agent: true });
    // This runner was given no workspace to keep, and says so.
    await failed(capsule_id);
    expect(await server.ended(run_id)).toMatchObject({ status: "canceled", error: { code: "suspended" }, conversation: "kept" });
    expect(server.of("permission.withdrawn")).toEqual([]);
    const next = server.task(steps(["ask", "Bash", { command: "touch x" }]), { interrupted: true, notice: "Processes were lost.", carried: [{ permission_id, tool: "Bash", input: { command: "touch x" }, status: "approved", reason: null, scope: "once" }] });
    expect(await server.ended(next.run_id)).toMatchObject({ status: "completed" });
    expect(server.of("message", next.run_id)).toEqual([{ text: "Bash: approved" }]);
    expect(server.of("permission.requested")).toHaveLength(1);
    expect(server.of("log", next.run_id)).toContainEqual({ stream: "system", text: "Processes were lost." });
  });

  it("gives a run that waits for its turn the answer to what it carries", async () => {
    await stage.runner();
    const first = server.task(steps(["ask", "Bash", { command: "touch first" }]));
    const { permission_id } = await server.until("the first asks", () => server.of("permission.requested", first.run_id)[0]);
    const carried = newChildId("permission", server.session_id, Date.now());
    const next = server.task(steps(["ask", "Bash", { command: "touch x" }]), { interrupted: true, carried: [{ permission_id: carried, tool: "Bash", input: { command: "touch x" }, status: "pending", reason: null, scope: "once" }] });
    server.command({ kind: "permission.answer", permission_id: carried, run_id: next.run_id, decision: "approved", reason: null, scope: "once" });
    server.command({ kind: "permission.answer", permission_id, run_id: first.run_id, decision: "approved", reason: null, scope: "once" });
    expect(await server.ended(next.run_id)).toMatchObject({ status: "completed" });
    expect(server.of("message", next.run_id)).toEqual([{ text: "Bash: approved" }]);
    expect(server.of("permission.requested", next.run_id)).toEqual([]);
  });

  it("leaves the agent alone where its memory is kept", async () => {
    await stage.runner();
    const { run_id } = server.task(steps(["ask", "Bash", { command: "touch x" }]));
    const { permission_id } = await server.until("it asks", () => server.of("permission.requested", run_id)[0]);
    const capsule_id = capsuleOf();
    server.command({ kind: "capsule", capsule_id, why: "suspend", stop_agent: false });
    await failed(capsule_id);
    stage.runners.at(-1)?.woken();
    server.command({ kind: "permission.answer", permission_id, run_id, decision: "approved", reason: null, scope: "once" });
    expect(await server.ended(run_id)).toMatchObject({ status: "completed" });
  });

  it("is answered also by the runner's next life", async () => {
    const first = await stage.runner({ adapter: inProcess(() => new Promise(() => {})) });
    const { run_id } = server.task("hang");
    await server.until("it runs", () => server.of("run.status", run_id).length > 0);
    server.silent = true;
    const capsule_id = capsuleOf();
    const id = server.command({ kind: "capsule", capsule_id, why: "suspend", stop_agent: true });
    await server.until("it is in the journal", () => server.ackedCommand >= id);
    first.kill();
    await server.until("the link is down", () => !server.connected);
    server.silent = false;
    await stage.runner();
    expect(await failed(capsule_id)).toMatchObject({ why: "suspend" });
  });
});
