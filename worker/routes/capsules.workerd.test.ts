/** Owns the tests of the routes of suspensions, capsules and forks: what they pass on, what they answer, and what they refuse. */

import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { newChildId, newId, ok, sessionOf, type Capsule, type CapsuleAsked, type Page, type Session } from "../../sdk/protocol/index.ts";
import { doors, type Doors } from "../testing/doors.ts";

let d: Doors;
let session: Session;
const adopted: string[][] = [];
beforeEach(async () => {
  d = await doors();
  adopted.length = 0;
  const storage = { adopt: async (...args: string[]) => (adopted.push(args), ok({ manifest_id: args[0] })), head: async () => ({ manifest_id: newId("manifest", 1) }) };
  Object.assign(d.env, { STORAGE: { idFromName: (name: string) => name, get: () => storage } });
  session = await d.json<Session>("POST", "/sessions", { body: { agent: "claude" } }, 201);
});

function capsuleOf({ id, tenant_id, workspace_id }: Session, seq: number): Capsule {
  const tree = { manifest_id: newId("manifest", seq), files: 1, bytes: 1, sent_bytes: 1 };
  return {
    id: newChildId("capsule", id, seq), session_id: id, tenant_id, seq, task_id: null, run_id: null, why: "task_end", workspace_id, workspace: tree, state: { ...tree, manifest_id: newId("manifest", seq + 1) }, torn: false,
    left_out: [], agent: "claude", model: null, conversation: "c1", env_names: [], pending_permissions: [], created_at: new Date(seq).toISOString(),
  };
}

describe("suspensions", () => {
  it("are begun and ended, and shown in the lists at once", async () => {
    const at = `/sessions/${session.id}`;
    expect(await d.json("POST", `${at}/suspend`, { body: { strategy: "snapshot", reason: "lunch" } })).toMatchObject({ status: "suspended", suspension: { strategy: "snapshot" } });
    expect((await d.json<Page<Session>>("GET", "/sessions?status=suspended")).items.map(({ id }) => id)).toEqual([session.id]);
    expect(await d.failure("POST", `${at}/suspend`, { body: {} })).toMatchObject({ status: 409, code: "conflict", details: { instead: ["resume"] } });
    expect(await d.json("POST", `${at}/resume`, { body: {} })).toMatchObject({ status: "resuming", suspension: null });
    expect(await d.failure("POST", `${at}/suspend`, { body: { strategy: "hibernate" } })).toMatchObject({ status: 400 });
    expect(await d.failure("POST", `${at}/resume`, { body: { now: true } })).toMatchObject({ status: 400, details: { now: "unknown field" } });
    for (const what of ["suspend", "resume", "fork"]) expect(await d.failure("POST", `${at}/${what}`, { body: {}, key: d.two.token })).toMatchObject({ status: 404 });
    expect(await d.failure("GET", `${at}/capsules`, { key: d.two.token })).toMatchObject({ status: 404 });
  });
});

describe("capsules", () => {
  it("are listed page by page, and read by their id", async () => {
    const capsules = [3, 2, 1].map((seq) => capsuleOf(session, seq));
    d.sessions.of(session.id).capsules.push(...capsules);
    const first = await d.json<Page<Capsule>>("GET", `/sessions/${session.id}/capsules?limit=2`);
    expect(first).toMatchObject({ total: 3, items: capsules.slice(0, 2) });
    const second = await d.json<Page<Capsule>>("GET", `/sessions/${session.id}/capsules?limit=2&cursor=${first.next_cursor}`);
    expect(second).toMatchObject({ items: capsules.slice(2), next_cursor: null });
    expect(await d.json("GET", `/sessions/${session.id}/capsules/${capsules[0]?.id}`)).toEqual(capsules[0]);
    expect(await d.failure("GET", `/sessions/${session.id}/capsules/${newChildId("capsule", session.id, 9)}`)).toMatchObject({ status: 404 });
    expect(await d.failure("GET", `/sessions/${session.id}/capsules?cursor=x`)).toMatchObject({ status: 400 });
  });

  it("are asked for: at once answered with where in the log to look, the same to a repeated request", async () => {
    const at = `/sessions/${session.id}/capsules`;
    const headers = { "idempotency-key": "once" };
    const asked = await d.json<CapsuleAsked>("POST", at, { headers }, 202);
    expect(asked).toEqual({ id: expect.stringMatching(/^cap_/), session_id: session.id, seq: session.last_seq });
    expect(sessionOf(asked.id)).toBe(session.id);
    expect(await d.json("POST", at, { headers }, 202)).toEqual(asked);
    expect((await d.json<CapsuleAsked>("POST", at, {}, 202)).id).not.toBe(asked.id);
    const { token } = await d.one.key(["read"]);
    expect((await d.failure("POST", at, { key: token })).status).toBe(403);
    expect((await d.failure("POST", at, { key: d.two.token })).status).toBe(404);
    await d.json("POST", `/sessions/${session.id}/suspend`, { body: {} });
    expect(await d.failure("POST", at)).toMatchObject({ status: 409 });
  });

  it("are what a fork begins with: its workspace and its session may read them, and a repeated fork is the same", async () => {
    const at = `/sessions/${session.id}/fork`;
    expect(await d.failure("POST", at, { body: {} })).toMatchObject({ status: 409, details: { points: [] } });
    const capsule = capsuleOf(session, 7);
    d.sessions.of(session.id).capsules.push(capsule);
    const headers = { "idempotency-key": "once" };
    const made = await d.json<Session>("POST", at, { body: { seq: 7, name: "again" }, headers }, 201);
    expect(made).toMatchObject({ name: "again", agent: "claude", forked_from: { session_id: session.id, capsule_id: capsule.id, seq: 7 } });
    expect(made.id).not.toBe(session.id);
    expect(made.workspace_id).not.toBe(session.workspace_id);
    expect(adopted).toEqual([[capsule.workspace.manifest_id, session.workspace_id, made.workspace_id], [capsule.state?.manifest_id, session.id, made.id]]);
    expect(await d.json("POST", at, { body: { seq: 7, name: "again" }, headers }, 201)).toMatchObject({ id: made.id });
    expect(await d.failure("POST", at, { body: { seq: 7, task_id: newChildId("task", session.id, 1) } })).toMatchObject({ status: 400 });
  });
});

describe("a real session", () => {
  it("says in words what would work instead", async () => {
    d = await doors(env);
    const { id } = await d.json<Session>("POST", "/sessions", { body: { agent: "claude" } }, 201);
    expect(await d.failure("POST", `/sessions/${id}/suspend`, { body: {} })).toMatchObject({ status: 409, details: { status: "pending", instead: ["terminate"] } });
    expect(await d.failure("POST", `/sessions/${id}/fork`, { body: {} })).toMatchObject({ status: 409, message: expect.stringContaining("no capsule yet"), details: { points: [] } });
    await d.json("DELETE", `/sessions/${id}`);
    expect(await d.failure("POST", `/sessions/${id}/resume`, { body: {} })).toMatchObject({ status: 409, details: { status: "terminated", instead: ["fork"] } });
  });
});
