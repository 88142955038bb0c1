import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { migrate } from "../../migrations/migrate.ts";
import type { Row } from "../../durable-objects/ports.ts";
import { limits, newId, type Session } from "../../sdk/protocol/index.ts";
import { startPostgres, type Postgres } from "../local/postgres.ts";
import { openDatabase } from "./client.ts";
import { recordsOf, type Records } from "./records.ts";

const T0 = Date.UTC(2026, 10, 21, 12);
const DAY = 86_400_000;
const after = (ms: number) => new Date(T0 + ms);

let postgres: Postgres;
let records: Records;
beforeAll(async () => {
  postgres = await startPostgres();
  await migrate(postgres);
  records = recordsOf(openDatabase(postgres.url, postgres.endpoint));
});
afterAll(() => postgres.close());

async function tenant(): Promise<string> {
  return (await records.access.createTenant({ id: newId("tenant", T0), name: "t", limits: limits.parse({}), created_at: after(0) })).id;
}
/** The few fields of a session that these records look at. */
function session(tenant_id: string, workspace_id: string, change: Partial<Session> = {}): Row {
  const made = { id: newId("session", T0), tenant_id, workspace_id, agent: "claude", labels: {}, status: "active", workspace_quota_mb: 10, retention_days: 3, created_at: after(0).toISOString(), updated_at: after(0).toISOString(), version: 1, ...change };
  return { resource: "session", value: made as Session };
}

describe("records of workspaces", () => {
  it("are made once, changed, listed page by page, and removed, each for its own tenant", async () => {
    const [one, two] = [await tenant(), await tenant()];
    const ids = [0, 1, 2].map((i) => newId("workspace", T0 + i));
    for (const [i, id] of ids.entries()) await records.workspaces.create({ id, tenant_id: one, name: `w${i}`, labels: i === 1 ? { team: "a" } : {}, quota_mb: null, retention_days: 7, created_at: after(i) });
    await records.workspaces.create({ id: ids[0] ?? "", tenant_id: one, name: "again", labels: {}, quota_mb: 1, retention_days: 7, created_at: after(9) });
    const first = await records.workspaces.list(one, { limit: 2 });
    expect([first.total, first.items.map(({ name }) => name)]).toEqual([3, ["w2", "w1"]]);
    const rest = await records.workspaces.list(one, { limit: 2, cursor: first.next_cursor ?? "" });
    expect([rest.items.map(({ name }) => name), rest.next_cursor]).toEqual([["w0"], null]);
    expect((await records.workspaces.list(one, { limit: 9, labels: { team: "a" } })).items.map(({ name }) => name)).toEqual(["w1"]);
    expect((await records.workspaces.list(two, { limit: 9 })).total).toBe(0);
    const id = ids[0] ?? "";
    expect(await records.workspaces.update(two, id, { name: "theirs" }, after(1))).toBeNull();
    expect(await records.workspaces.update(one, id, { name: null, quota_mb: 5 }, after(1))).toMatchObject({ name: null, quota_mb: 5, retention_days: 7, version: 2 });
    expect([await records.workspaces.remove(two, id, after(2)), await records.workspaces.remove(one, id, after(2)), await records.workspaces.read(one, id), await records.workspaces.remove(one, id, after(2))]).toEqual([false, true, null, false]);
  });

  it("come with the sessions that made them, and expire when the last of those ended long enough ago", async () => {
    const [one, two] = [await tenant(), await tenant()];
    const id = newId("workspace", T0);
    const first = session(one, id);
    const ended = (row: Row, ms: number, version: number): Row => session(one, id, { ...(row.value as Session), status: "terminated", updated_at: after(ms).toISOString(), version });
    await records.projection.apply([first]);
    expect(await records.workspaces.read(one, id)).toMatchObject({ name: null, quota_mb: 10, retention_days: 3, last_used_at: after(0) });
    await records.projection.apply([session(two, id, { updated_at: after(DAY * 50).toISOString() })]);
    expect([await records.workspaces.read(two, id), (await records.workspaces.read(one, id))?.last_used_at]).toEqual([null, after(0)]);
    const late = after(40 * DAY);
    expect(await records.workspaces.expired(one, late, 10)).toEqual([]);
    const second = session(one, id);
    await records.projection.apply([ended(first, DAY, 2), second]);
    expect([(await records.workspaces.sessions(one, id)).map((each) => each.id), (await records.workspaces.sessions(one, id, { ended: true })).length]).toEqual([[second.value.id], 2]);
    expect(await records.workspaces.expired(one, late, 10)).toEqual([]);
    await records.projection.apply([ended(second, 2 * DAY, 2)]);
    expect([await records.workspaces.expired(one, after(5 * DAY - 1), 10), await records.workspaces.expired(one, after(5 * DAY + 1), 10), await records.workspaces.expired(two, late, 10)]).toEqual([[], [id], []]);
    expect(await records.workspaces.tenants("", 1_000)).toEqual(expect.arrayContaining([one, two]));
  });
});

describe("records of data keys", () => {
  it("hold versions, retire the old, re-wrap only what was read, and forget bytes at deletion", async () => {
    const one = await tenant();
    const row = (version: number, wrapped: string) => ({ tenant_id: one, version, state: "active" as const, wrapped, wrapped_with: "old", created_at: after(version) });
    expect([await records.dataKeys.add(row(1, "a")), await records.dataKeys.add(row(1, "b")), await records.dataKeys.add(row(2, "c"))]).toEqual([true, false, true]);
    const [first, second] = await records.dataKeys.of(one);
    expect([first?.wrapped, first?.state, second?.state]).toEqual(["a", "retired", "active"]);
    expect((await records.dataKeys.wrappedOtherwise("new", 10)).map(({ version }) => version)).toEqual([1, 2]);
    if (!first || !second) throw new Error("no keys");
    expect([await records.dataKeys.rewrap(first, "A", "new"), await records.dataKeys.rewrap(first, "B", "new")]).toEqual([true, false]);
    expect((await records.dataKeys.wrappedOtherwise("new", 10)).map(({ version }) => version)).toEqual([2]);
    expect([await records.dataKeys.remove(one), await records.dataKeys.remove(one)]).toEqual([2, 0]);
    expect((await records.dataKeys.of(one)).map(({ wrapped, state }) => [wrapped, state])).toEqual([[null, "deleted"], [null, "deleted"]]);
  });
});
