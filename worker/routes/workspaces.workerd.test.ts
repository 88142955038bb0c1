import { env } from "cloudflare:workers";
import { zstdCompressSync } from "node:zlib";
import { beforeEach, describe, expect, it } from "vitest";
import type { ObjectsEnv } from "../../durable-objects/index.ts";
import { hashToken, newId, newToken, type Capsule, type Collection, type ManifestDiff, type Session, type Workspace } from "../../sdk/protocol/index.ts";
import { MANIFEST_FORMAT, MAX_STORED_CHUNK_BYTES, type ManifestChunk, type ManifestEntry } from "../../sdk/protocol/manifest.ts";
import { doors, MASTER, type Doors } from "../testing/doors.ts";
import { collectTenant } from "../storage/collecting.ts";
import { fakeObjects, type FakeSession } from "../testing/fake-objects.ts";

const bindings = env as unknown as ObjectsEnv & { BUCKET: R2Bucket };
const encoder = new TextEncoder();
const hex = (bytes: ArrayBuffer) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
const sha256 = async (bytes: Uint8Array<ArrayBuffer>) => hex(await crypto.subtle.digest("SHA-256", bytes));
const packed = (bytes: Uint8Array) => Uint8Array.from(zstdCompressSync(bytes));

let d: Doors;
let ws: Workspace;
beforeEach(async () => {
  d = await doors(bindings);
  Object.assign(d.env, { BUCKET: bindings.BUCKET });
  ws = await d.json<Workspace>("POST", "/workspaces", { body: { name: "mine" } }, 201);
});

async function bytes(method: string, path: string, body?: Uint8Array<ArrayBuffer>, key = d.one.token): Promise<Response> {
  const whole = path.startsWith("/links") ? path : `/api/v1${path}`;
  return d.raw(whole, { method, headers: { authorization: `Bearer ${key}`, ...(body && { "content-type": "application/octet-stream" }) }, ...(body && { body }) });
}
const failed = async (response: Response) => ({ status: response.status, ...(await response.json<{ error: { code: string; message: string; details?: Record<string, unknown>; hint?: string } }>()).error });

interface Made {
  raw: Uint8Array;
  chunk: ManifestChunk;
  body: Uint8Array<ArrayBuffer>;
}
async function chunk(text: string): Promise<Made> {
  const raw = encoder.encode(text);
  const body = packed(raw);
  return { raw, body, chunk: { id: await sha256(body), size: raw.byteLength, stored: body.byteLength } };
}
const send = (made: Made, at = `/workspaces/${ws.id}`, key?: string) => bytes("PUT", `${at}/chunks/${made.chunk.id}`, made.body, key);

async function fileOf(path: string, made: Made, index: number): Promise<ManifestEntry> {
  return { type: "file", path, mode: 0o644, mtime: 1_700_000_000_000_000, size: made.raw.byteLength, hash: await sha256(Uint8Array.from(made.raw)), pieces: [[index, 0, made.raw.byteLength]] };
}
/** A manifest's id and packed bytes. */
function manifest(chunks: Made[], entries: ManifestEntry[], change: Record<string, unknown> = {}): { id: string; body: Uint8Array<ArrayBuffer> } {
  const id = newId("manifest", Date.now());
  const files = entries.filter((each) => each.type === "file");
  const header = {
    format: MANIFEST_FORMAT, manifest_id: id, workspace_id: ws.id, kind: "workspace", parent: null, created_at: new Date().toISOString(), entries: entries.length, files: files.length,
    bytes: files.reduce((sum, { size }) => sum + size, 0), chunks: chunks.length, torn: false, excluded: [], excluded_total: 0, ...change,
  };
  const lines = [header, ...chunks.map((made) => made.chunk), ...entries].map((line) => `${JSON.stringify(line)}\n`).join("");
  return { id, body: packed(encoder.encode(lines)) };
}
const record = (made: { id: string; body: Uint8Array<ArrayBuffer> }, at = `/workspaces/${ws.id}`, query = "") => bytes("PUT", `${at}/manifests/${made.id}${query}`, made.body);

describe("a workspace's bytes", () => {
  it("are proved, kept sealed, told missing until sent, and given back", async () => {
    const made = await chunk("hello, chunk");
    const missing = () => d.json("POST", `/workspaces/${ws.id}/chunks/missing`, { body: { ids: [made.chunk.id] } });
    expect(await missing()).toEqual({ missing: [made.chunk.id] });
    expect([(await send(made)).status, (await send(made)).status]).toEqual([201, 200]);
    expect(await missing()).toEqual({ missing: [] });
    const back = await bytes("GET", `/workspaces/${ws.id}/chunks/${made.chunk.id}`);
    expect([back.status, new Uint8Array(await back.arrayBuffer())]).toEqual([200, made.body]);
    const { objects } = await bindings.BUCKET.list({ prefix: `chunks/${d.one.id}/` });
    expect([objects.length, objects[0]?.key.includes(made.chunk.id)]).toEqual([1, false]);
    const stored = new Uint8Array((await (await bindings.BUCKET.get(objects[0]?.key ?? ""))?.arrayBuffer()) ?? new ArrayBuffer());
    expect([stored.byteLength, stored.join().includes(made.body.join())]).toEqual([made.body.byteLength + 33, false]);
  });

  it("are refused where the hash is another, the body too large, the id or the workspace none", async () => {
    const made = await chunk("one");
    const other = await chunk("two");
    expect(await failed(await bytes("PUT", `/workspaces/${ws.id}/chunks/${made.chunk.id}`, other.body))).toMatchObject({ status: 400, details: { chunk: made.chunk.id, sha256: other.chunk.id } });
    expect((await bytes("PUT", `/workspaces/${ws.id}/chunks/${made.chunk.id}`, new Uint8Array(MAX_STORED_CHUNK_BYTES + 1))).status).toBe(413);
    expect((await bytes("PUT", `/workspaces/${ws.id}/chunks/nothex`, made.body)).status).toBe(400);
    expect((await bytes("PUT", `/workspaces/${newId("workspace", 0)}/chunks/${made.chunk.id}`, made.body)).status).toBe(404);
    expect((await send(made, undefined, d.two.token)).status).toBe(404);
    expect((await bytes("PUT", `/workspaces/${ws.id}/chunks/${made.chunk.id}`, made.body, (await d.one.key(["read"])).token)).status).toBe(403);
    expect((await failed(await bytes("GET", `/workspaces/${ws.id}/chunks/${made.chunk.id}`))).status).toBe(404);
  });

  it("that the store lost, cut, altered or swapped are refused by name, and count as missing", async () => {
    const [a, b] = [await chunk("first"), await chunk("second")];
    for (const each of [a, b]) await send(each);
    const { objects } = await bindings.BUCKET.list({ prefix: `chunks/${d.one.id}/` });
    const [one, two] = objects.map(({ key }) => key);
    const read = async (key = "") => new Uint8Array((await (await bindings.BUCKET.get(key))?.arrayBuffer()) ?? new ArrayBuffer());
    await bindings.BUCKET.put(one ?? "", await read(two));
    await bindings.BUCKET.delete(two ?? "");
    const answers = await Promise.all([a, b].map(async (each) => failed(await bytes("GET", `/workspaces/${ws.id}/chunks/${each.chunk.id}`))));
    expect(answers.map(({ status, code }) => [status, code])).toEqual([[409, "conflict"], [409, "conflict"]]);
    expect(answers.map(({ message }) => message).join()).toMatch(/(altered, or another object's.*missing in the object store|missing in the object store.*altered, or another object's)/);
    expect(await d.json("POST", `/workspaces/${ws.id}/chunks/missing`, { body: { ids: [a.chunk.id, b.chunk.id] } })).toEqual({ missing: [a.chunk.id, b.chunk.id] });
    expect([(await send(a)).status, (await bytes("GET", `/workspaces/${ws.id}/chunks/${a.chunk.id}`)).status]).toEqual([201, 200]);
  });

  it("are not another workspace's to read or name, unless they are sent again", async () => {
    const made = await chunk("shared");
    await send(made);
    const other = await d.json<Workspace>("POST", "/workspaces", { body: {} }, 201);
    expect((await bytes("GET", `/workspaces/${other.id}/chunks/${made.chunk.id}`)).status).toBe(404);
    expect(await d.json("POST", `/workspaces/${other.id}/chunks/missing`, { body: { ids: [made.chunk.id] } })).toEqual({ missing: [made.chunk.id] });
    expect((await send(made, `/workspaces/${other.id}`)).status).toBe(200);
    expect((await bytes("GET", `/workspaces/${other.id}/chunks/${made.chunk.id}`)).status).toBe(200);
    expect((await bindings.BUCKET.list({ prefix: `chunks/${d.one.id}/` })).objects.length).toBe(1);
  });
});

describe("a workspace's manifests", () => {
  it("are recorded once all their chunks are there; the workspace goes on from the last, or from the one that is chosen", async () => {
    const [a, b] = [await chunk("first file"), await chunk("second, longer file")];
    const first = manifest([a], [{ type: "directory", path: "src", mode: 0o755, mtime: 0 }, await fileOf("src/a.txt", a, 0)]);
    expect(await failed(await record(first))).toMatchObject({ status: 409, details: { missing: [a.chunk.id], total: 1 } });
    await send(a);
    await send(b);
    expect([(await record(first)).status, (await record(first)).status]).toEqual([201, 200]);
    const second = manifest([a, b], [await fileOf("b.txt", b, 1), { type: "directory", path: "src", mode: 0o755, mtime: 0 }, await fileOf("src/a.txt", b, 1), { type: "symlink", path: "src/l", mtime: 0, target: "../b.txt" }]);
    expect((await record(second)).status).toBe(201);
    const list = await d.json<{ items: { id: string; current: boolean; files: number; stored_bytes: number }[]; total: number }>("GET", `/workspaces/${ws.id}/manifests`);
    expect([list.total, list.items.map(({ id, current, files }) => [id, current, files])]).toEqual([2, [[second.id, true, 2], [first.id, false, 1]]]);
    expect(list.items[1]?.stored_bytes).toBe(a.body.byteLength);
    const back = await bytes("GET", `/workspaces/${ws.id}/manifests/${second.id}`);
    expect(new Uint8Array(await back.arrayBuffer())).toEqual(second.body);
    expect(await d.json<ManifestDiff>("GET", `/workspaces/${ws.id}/manifests/${first.id}/diff/${second.id}`)).toMatchObject({
      total: 3, truncated: false, items: [{ path: "b.txt", change: "added", kind: "file", before: null, after: 19 }, { path: "src/a.txt", change: "modified", before: 10, after: 19 }, { path: "src/l", change: "added", kind: "symlink" }],
    });
    expect(await d.json("GET", `/workspaces/${ws.id}`)).toMatchObject({ manifest_id: second.id, manifests: 2, files: 2, bytes: 38 });
    expect(await d.json("POST", `/workspaces/${ws.id}/restore`, { body: { manifest_id: first.id } })).toMatchObject({ manifest_id: first.id, files: 1 });
    expect((await d.failure("POST", `/workspaces/${ws.id}/restore`, { body: { manifest_id: newId("manifest", 0) } })).status).toBe(404);
    expect((await d.failure("GET", `/workspaces/${ws.id}/manifests`, { key: d.two.token })).status).toBe(404);
  });

  it("show their files: directories, bytes, holes, and what is none", async () => {
    const a = await chunk("0123456789");
    await send(a);
    const sparse: ManifestEntry = { type: "file", path: "src/sparse", mode: 0o644, mtime: 0, size: 100_014, hash: "0".repeat(64), pieces: [[0, 2, 4], [0, 0, 10]], holes: [[4, 100_000]] };
    const made = manifest([a], [await fileOf("a.txt", a, 0), { type: "directory", path: "src", mode: 0o755, mtime: 0 }, sparse]);
    expect((await record(made)).status).toBe(201);
    const ls = async (path: string) => (await d.json<{ items: { name: string; kind: string; path: string }[] }>("GET", `/workspaces/${ws.id}/files?manifest=${made.id}&path=${path}`)).items.map(({ name, kind, path: at }) => `${kind} ${name} ${at}`);
    expect([await ls(""), await ls("src"), await ls("/src/")]).toEqual([["file a.txt a.txt", "directory src src"], ["file sparse src/sparse"], ["file sparse src/sparse"]]);
    const cat = await d.call("GET", `/workspaces/${ws.id}/files/content?path=src/sparse`);
    expect(await cat.text()).toBe(`2345${"\0".repeat(100_000)}0123456789`);
    for (const [path, status] of [["src", 409], ["nowhere", 404], ["../a.txt", 400]]) expect((await d.failure("GET", `/workspaces/${ws.id}/files/content?path=${path}&manifest=${made.id}`)).status).toBe(status);
    expect((await d.failure("GET", `/workspaces/${ws.id}/files?path=a.txt&manifest=${made.id}`)).status).toBe(404);
    const empty = await d.json<Workspace>("POST", "/workspaces", { body: {} }, 201);
    expect((await d.failure("GET", `/workspaces/${empty.id}/files`)).message).toContain("never synced");
  });

  it("are refused, named, where they are no manifest, cut, or say what a tree must not", async () => {
    const a = await chunk("x");
    await send(a);
    const good = await fileOf("a", a, 0);
    const symlink = (path: string, target: string): ManifestEntry => ({ type: "symlink", path, mtime: 0, target });
    const zeros = packed(new Uint8Array(64 * 1024 * 1024));
    const cut = manifest([a], [good]);
    const cases: [string, { id: string; body: Uint8Array<ArrayBuffer> }, RegExp][] = [
      ["garbage", { id: newId("manifest", 0), body: encoder.encode("garbage") }, /no whole zstd/],
      ["cut zstd", { id: cut.id, body: cut.body.slice(0, -8) }, /zstd|truncated/],
      ["zeros", { id: newId("manifest", 0), body: zeros }, /refused/],
      ["empty", { id: newId("manifest", 0), body: packed(new Uint8Array()) }, /empty/],
      ["truncated", manifest([a], [good], { entries: 2 }), /truncated/],
      ["dots", manifest([a], [await fileOf("../a", a, 0)]), /\.\./],
      ["absolute", manifest([a], [await fileOf("/etc/passwd", a, 0)]), /passwd/],
      ["twice", manifest([a], [good, good]), /twice/],
      ["below a file", manifest([a], [good, await fileOf("a/b", a, 0)]), /not a directory/],
      ["outside link", manifest([a], [symlink("l", "../../etc")]), /leads outside/],
      ["other workspace", manifest([a], [good], { workspace_id: newId("workspace", 0) }), /workspace_id/],
      ["other id", manifest([a], [good], { manifest_id: newId("manifest", 0) }), /manifest_id/],
      ["state", manifest([a], [good], { kind: "state" }), /kind/],
      ["outside its chunk", manifest([a], [{ ...good, size: 5, pieces: [[0, 0, 5]] } as ManifestEntry]), /outside its chunk/],
    ];
    for (const [name, made, why] of cases) {
      const answer = await failed(await record(made));
      expect([name, answer.status, answer.code]).toEqual([name, 400, "bad_request"]);
      expect(answer.message).toMatch(why);
    }
    expect(await d.json("GET", `/workspaces/${ws.id}`)).toMatchObject({ manifest_id: null, manifests: 0 });
  });

  it("are held to the workspace's quota, with its figures", async () => {
    const a = await chunk("y".repeat(2 * 1024 * 1024));
    await send(a);
    await d.json("PATCH", `/workspaces/${ws.id}`, { body: { quota_mb: 1 } });
    expect(await failed(await record(manifest([a], [await fileOf("big", a, 0)])))).toMatchObject({ status: 413, details: { bytes: 2 * 1024 * 1024, quota_bytes: 1024 * 1024 } });
    await d.json("PATCH", `/workspaces/${ws.id}`, { body: { quota_mb: null } });
    expect((await record(manifest([a], [await fileOf("big", a, 0)]))).status).toBe(201);
  });
});

describe("a sandbox's door", () => {
  it("opens to the run token of the current attachment alone, and to its own workspace", async () => {
    const session = await d.json<{ id: string; workspace_id: string }>("POST", "/sessions", { body: { agent: "claude" } }, 201);
    const made = await chunk("mine");
    const at = `/links/workspace/${session.id}/${session.workspace_id}`;
    expect((await send(made, at)).status).toBe(401);
    expect((await send(made, at, `gtok_${"a".repeat(43)}`)).status).toBe(401);
    expect((await bytes("GET", `/links/workspace/${newId("session", 0)}/${session.workspace_id}/chunks/${made.chunk.id}`, undefined, `gtok_${"a".repeat(43)}`)).status).toBe(401);
  });
});

describe("a sandbox with its run token", () => {
  interface Sandbox {
    session: Session;
    token: string;
    at: string;
  }
  /** The real storage object over sessions in memory, whose run tokens the test gives out. */
  async function sandboxes(): Promise<(workspaceId?: string) => Promise<Sandbox & { fake: FakeSession; revoke: () => void }>> {
    const fakes = fakeObjects();
    d = await doors({ ...bindings, SESSIONS: fakes.env.SESSIONS });
    Object.assign(d.env, { BUCKET: bindings.BUCKET });
    return async (workspace_id) => {
      const session = await d.json<Session>("POST", "/sessions", { body: { agent: "claude", ...(workspace_id && { workspace_id }) } }, 201);
      const token = newToken("run");
      const fake = fakes.sessions.of(session.id);
      fake.runHash = await hashToken(token);
      return { session, token, at: `/links/workspace/${session.id}/${session.workspace_id}`, fake, revoke: () => void (fake.runHash = null) };
    };
  }
  const recorded = (made: { id: string; body: Uint8Array<ArrayBuffer> }, { at, token }: Sandbox, query = "") => bytes("PUT", `${at}/manifests/${made.id}${query}`, made.body, token);

  it("keeps its workspace and its own state there, and reaches nobody else's", async () => {
    const start = await sandboxes();
    const one = await start();
    const two = await start(one.session.workspace_id);
    const stranger = await start();
    ws = { ...ws, id: one.session.workspace_id };
    const [file, talk] = [await chunk("a file of the workspace"), await chunk("what the agent was told")];
    for (const each of [file, talk]) expect((await send(each, one.at, one.token)).status).toBe(201);
    const tree = manifest([file], [await fileOf("a.txt", file, 0)]);
    const state = manifest([talk], [await fileOf("talk.jsonl", talk, 0)], { kind: "state" });
    expect([(await recorded(tree, one, `?session_id=${one.session.id}`)).status, (await recorded(state, one, "?kind=state")).status]).toEqual([201, 201]);
    expect((await recorded(manifest([], []), one, `?session_id=${two.session.id}`)).status).toBe(400);
    const read = async ({ at, token }: Sandbox, path: string) => (await bytes("GET", `${at}/${path}`, undefined, token)).status;
    const paths = [`chunks/${file.chunk.id}`, `chunks/${talk.chunk.id}`, `manifests/${tree.id}`, `manifests/${state.id}`];
    const all = (sandbox: Sandbox) => Promise.all(paths.map((path) => read(sandbox, path)));
    expect([await all(one), await all(two), await all(stranger)]).toEqual([[200, 200, 200, 200], [200, 404, 200, 404], [404, 404, 404, 404]]);
    expect(await read({ ...one, at: `/links/workspace/${one.session.id}/${stranger.session.workspace_id}` }, paths[0] ?? "")).toBe(404);
    expect(await read({ ...two, token: one.token }, paths[0] ?? "")).toBe(401);
    const head = await bytes("HEAD", `${one.at}/manifests/${tree.id}`, undefined, one.token);
    expect([head.status, (await bytes("HEAD", `${stranger.at}/manifests/${tree.id}`, undefined, stranger.token)).status]).toEqual([200, 404]);
    const stolen = manifest([talk], [await fileOf("stolen", talk, 0)], { workspace_id: stranger.session.workspace_id });
    expect(await failed(await recorded(stolen, stranger))).toMatchObject({ status: 409, details: { missing: [talk.chunk.id] } });
  });

  it("is thinned out of old manifests with a collection, but not of what a capsule has, nor while a session has yet to begin", async () => {
    const one = await (await sandboxes())();
    ws = { ...ws, id: one.session.workspace_id };
    const file = await chunk("the same in all of them");
    await send(file, one.at, one.token);
    const made: string[] = [];
    for (let n = 0; n < 14; n++) {
      const each = manifest([file], [await fileOf(`f${n}`, file, 0)]);
      expect((await recorded(each, one)).status).toBe(201);
      made.push(each.id);
    }
    const collect = async (days: number, dryRun = false) => (await collectTenant(d.env, d.records, d.one.id, dryRun, new Date(Date.now() + days * 86_400_000))).thinned_manifests;
    const tree = { manifest_id: made[1] ?? "", files: 1, bytes: 1, sent_bytes: 1 };
    one.fake.capsules.push({ workspace: tree, state: null } as unknown as Capsule);
    expect(await collect(8)).toBe(0);
    await d.records.projection.apply([{ resource: "session", value: { ...one.session, status: "active", version: 60 } }]);
    expect([await collect(6), await collect(8, true), await collect(8), await collect(8)]).toEqual([0, 3, 3, 0]);
    const left = await d.json<{ items: { id: string }[] }>("GET", `/workspaces/${ws.id}/manifests?limit=20`);
    expect(left.items.map(({ id }) => id).toReversed()).toEqual([made[1], ...made.slice(4)]);
    const gone = await bytes("GET", `/workspaces/${ws.id}/manifests/${made[0]}`);
    expect([gone.status, (await bindings.BUCKET.list({ prefix: `manifests/${d.one.id}/${ws.id}/` })).objects.length]).toEqual([404, 11]);
  });

  it("records nothing from the moment that its attachment is over", async () => {
    const one = await (await sandboxes())();
    ws = { ...ws, id: one.session.workspace_id };
    const file = await chunk("late");
    await send(file, one.at, one.token);
    one.revoke();
    expect((await recorded(manifest([file], [await fileOf("a", file, 0)]), one)).status).toBe(401);
  });
});

describe("workspaces", () => {
  it("are made, listed, changed and deleted by their tenant; those of sessions stand among them", async () => {
    expect(ws).toMatchObject({ name: "mine", labels: {}, quota_mb: null, retention_days: 7, manifest_id: null, manifests: 0, version: 1 });
    expect(await d.json("PATCH", `/workspaces/${ws.id}`, { body: { name: null, retention_days: 30, labels: { team: "a" } } })).toMatchObject({ name: null, retention_days: 30, labels: { team: "a" }, version: 2 });
    expect((await d.failure("PATCH", `/workspaces/${ws.id}`, { body: { retention_days: 31 } })).status).toBe(400);
    expect((await d.failure("GET", `/workspaces/${ws.id}`, { key: d.two.token })).status).toBe(404);
    expect((await d.json<{ total: number }>("GET", "/workspaces", { key: d.two.token })).total).toBe(0);
    const session = await d.json<{ id: string; workspace_id: string }>("POST", "/sessions", { body: { agent: "claude" } }, 201);
    expect(await d.json("GET", `/workspaces/${session.workspace_id}`)).toMatchObject({ id: session.workspace_id, retention_days: 7 });
    expect(await d.failure("DELETE", `/workspaces/${session.workspace_id}`)).toMatchObject({ status: 409, details: { sessions: [session.id] }, hint: expect.stringContaining("Terminate") });
    expect(await d.json("DELETE", `/workspaces/${ws.id}`)).toMatchObject({ id: ws.id });
    expect((await d.failure("GET", `/workspaces/${ws.id}`)).status).toBe(404);
  });

  it("are collected by hand, one collection a tenant, counted first", async () => {
    await send(await chunk("nobody's"));
    expect(await d.json<Collection>("POST", "/workspaces/gc", { body: { dry_run: true } })).toMatchObject({ tenant_id: d.one.id, dry_run: true, kept: 0, marked: 0 });
    const { token } = await d.one.key(["read", "write"]);
    expect((await d.failure("POST", "/workspaces/gc", { key: token, body: {} })).status).toBe(403);
    expect(await d.json<{ items: Collection[] }>("POST", "/admin/api/v1/workspaces/gc", { key: MASTER, body: { tenant_id: d.one.id, dry_run: false } })).toMatchObject({ items: [{ tenant_id: d.one.id, dry_run: false }] });
  });

  it("expire with their retention, and are held while a session has a runner there", async () => {
    const old = new Date(Date.now() - 9 * 86_400_000);
    const row = await d.records.workspaces.create({ id: newId("workspace", old.getTime()), tenant_id: d.one.id, name: "old", labels: {}, quota_mb: null, retention_days: 7, created_at: old });
    ws = { ...ws, id: row.id };
    const session = await d.json<Session>("POST", "/sessions", { body: { agent: "claude", workspace_id: row.id } }, 201);
    const file = await chunk("kept for a while");
    await send(file);
    const [one, two] = [manifest([file], [await fileOf("a", file, 0)]), manifest([file], [await fileOf("b", file, 0)])];
    for (const each of [one, two]) expect((await record(each)).status).toBe(201);
    const copy = (change: Partial<Session>, version: number) => d.records.projection.apply([{ resource: "session", value: { ...session, ...change, version } }]);
    await copy({ runner: { id: newId("runner", 0), host_id: newId("host", 0), epoch: 1, provider: "process", sandbox: "process", isolation: null, state: "connected" } }, 50);
    expect(await d.failure("POST", `/workspaces/${row.id}/restore`, { body: { manifest_id: one.id } })).toMatchObject({ status: 409, details: { sessions: [session.id] }, hint: expect.stringContaining("fork") });
    expect((await record(manifest([file], [await fileOf("c", file, 0)]))).status).toBe(409);
    await copy({ status: "terminated", runner: null }, 51);
    expect(await d.json("POST", `/workspaces/${row.id}/restore`, { body: { manifest_id: one.id } })).toMatchObject({ manifest_id: one.id });
    expect(await d.json<Collection>("POST", "/workspaces/gc", { body: { dry_run: true } })).toMatchObject({ expired_workspaces: 1, expired_manifests: 2 });
    expect((await d.call("GET", `/workspaces/${row.id}`)).status).toBe(200);
    expect(await d.json<Collection>("POST", "/workspaces/gc", { body: {} })).toMatchObject({ expired_workspaces: 1, expired_manifests: 2 });
    expect([(await d.call("GET", `/workspaces/${row.id}`)).status, (await d.json<Collection>("POST", "/workspaces/gc", { body: {} })).expired_workspaces]).toEqual([404, 0]);
  });

  it("cannot be read once their tenant's key is deleted, and are re-wrapped and rotated without reading them", async () => {
    const made = await chunk("precious");
    await send(made);
    const keys = `/admin/api/v1/tenants/${d.one.id}/data-keys`;
    const get = () => bytes("GET", `/workspaces/${ws.id}/chunks/${made.chunk.id}`);
    expect(await d.json("POST", `${keys}/rotate`, { key: MASTER })).toMatchObject({ items: [{ version: 1, state: "retired" }, { version: 2, state: "active" }] });
    expect((await get()).status).toBe(200);
    expect(await d.json("POST", "/admin/api/v1/data-keys/rewrap", { key: MASTER })).toEqual({ rewrapped: 0, unopened: 0 });
    expect(await d.json("DELETE", keys, { key: MASTER })).toMatchObject({ items: [{ state: "deleted" }, { state: "deleted" }] });
    expect(await failed(await get())).toMatchObject({ status: 409, message: expect.stringContaining("key was deleted") });
    expect((await failed(await send(made))).status).toBe(409);
    await d.json("POST", `${keys}/rotate`, { key: MASTER });
    expect([(await get()).status, (await send(made)).status, (await get()).status]).toEqual([404, 201, 200]);
  });

  it("go on while the database is away and the key is known", async () => {
    const made = await chunk("before");
    await send(made);
    const { NeonDbError } = await import("@neondatabase/serverless");
    d.records.down = new NeonDbError("away");
    const late = await chunk("meanwhile");
    expect([(await send(late)).status, (await bytes("GET", `/workspaces/${ws.id}/chunks/${made.chunk.id}`)).status]).toEqual([201, 200]);
    const answer = await d.call("GET", "/workspaces");
    expect([answer.status, Number(answer.headers.get("retry-after")) > 0]).toEqual([503, true]);
    d.records.down = null;
  });
});
