import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import type { ObjectsEnv } from "../../durable-objects/index.ts";
import { hashToken, MAX_ATTACHMENT_BYTES, newId, newToken, type Attachment, type Session, type Task } from "../../sdk/protocol/index.ts";
import { dropAttachments } from "../storage/attachments.ts";
import { storageOf } from "../storage/storage.ts";
import { doors, type Doors } from "../testing/doors.ts";
import { fakeObjects } from "../testing/fake-objects.ts";

const bindings = env as unknown as ObjectsEnv & { BUCKET: R2Bucket };
const text = (value: string) => new TextEncoder().encode(value);
const PNG = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1, 2, 3]);
const JPEG = new Uint8Array([0xff, 0xd8, 0xff, 0xe0, 9]);

let d: Doors;
let session: Session;
beforeEach(async () => {
  d = await doors(bindings);
  Object.assign(d.env, { BUCKET: bindings.BUCKET });
  session = await d.json<Session>("POST", "/sessions", { body: { agent: "scripted" } }, 201);
});

const send = (bytes: Uint8Array<ArrayBuffer>, { type = "image/png", name = "shot.png", id = session.id, key = d.one.token, headers = {} } = {}) =>
  d.raw(`/api/v1/sessions/${id}/attachments?name=${encodeURIComponent(name)}`, { method: "POST", headers: { authorization: `Bearer ${key}`, "content-type": type, ...headers }, body: bytes });
const made = async (response: Promise<Response>) => {
  const answer = await response;
  expect(answer.status).toBe(201);
  return answer.json<Attachment>();
};
const failed = async (response: Promise<Response>) => {
  const answer = await response;
  return { status: answer.status, ...(await answer.json<{ error: { message: string; details?: Record<string, unknown> } }>()).error };
};
const read = (id: string, key = d.one.token, of = session.id) => d.raw(`/api/v1/sessions/${of}/attachments/${id}`, { headers: { authorization: `Bearer ${key}` } });
const give = (attachments: string[]) => d.call("POST", `/sessions/${session.id}/tasks`, { body: { prompt: "look", attachments } });

describe("an image of a session", () => {
  it("is kept sealed, named safely, and given back as it was", async () => {
    const image = await made(send(PNG, { name: "../../etc/Bild von\u202e Ün.jpg" }));
    expect(image).toEqual({ id: expect.stringMatching(/^att_/) as unknown, name: "Bild-von-Ün.png", media_type: "image/png", size: PNG.length });
    const back = await read(image.id);
    expect([back.headers.get("content-type"), new Uint8Array(await back.arrayBuffer())]).toEqual(["image/png", PNG]);
    expect(back.headers.get("content-security-policy")).toContain("sandbox");
    const { objects } = await bindings.BUCKET.list({ prefix: `attachments/${d.one.id}/${session.workspace_id}/` });
    expect(objects).toHaveLength(1);
    const stored = new Uint8Array((await (await bindings.BUCKET.get(objects[0]?.key ?? ""))?.arrayBuffer()) ?? new ArrayBuffer());
    expect([stored.length > PNG.length, stored.join().includes(PNG.join())]).toEqual([true, false]);
  });

  it("is made once with an idempotency key", async () => {
    const headers = { "idempotency-key": "one-shot" };
    const [first, again] = [await made(send(PNG, { headers })), await made(send(PNG, { headers }))];
    expect(again).toEqual(first);
    expect(await failed(send(JPEG, { type: "image/jpeg", headers }))).toMatchObject({ status: 409 });
  });

  it.each([
    ["a text that is named .png", text("hello, I am a picture"), "image/png", 400, "no PNG, JPEG, GIF or WebP"],
    ["a kind that is another than it says", JPEG, "image/png", 400, "the bytes are image/jpeg"],
    ["SVG", text("<svg/>"), "image/svg+xml", 400, "must be one of"],
    ["nothing", new Uint8Array(), "image/png", 400, "empty"],
    ["9 MiB", new Uint8Array(9 * 1024 * 1024), "image/png", 413, String(MAX_ATTACHMENT_BYTES)],
  ])("is not %s", async (_what, bytes, type, status, words) => {
    expect(await failed(send(bytes, { type }))).toMatchObject({ status, message: expect.stringContaining(words) as unknown });
  });

  it("is nobody else's", async () => {
    const image = await made(send(PNG));
    const other = await d.json<Session>("POST", "/sessions", { body: { agent: "scripted" } }, 201);
    expect([(await send(PNG, { key: d.two.token })).status, (await read(image.id, d.two.token)).status, (await read(image.id, d.one.token, other.id)).status, (await read("att_x")).status]).toEqual([404, 404, 404, 400]);
    const reader = await d.one.key(["read"]);
    expect([(await send(PNG, { key: reader.token })).status, (await read(image.id, reader.token)).status]).toEqual([403, 200]);
    expect((await d.raw(`/api/v1/sessions/${session.id}/attachments/${image.id}`)).status).toBe(401);
  });

  it("comes with a task that names it, which is told of; others are refused with words", async () => {
    const image = await made(send(PNG));
    const task = await (await give([image.id])).json<Task>();
    expect(task.attachments).toEqual([image]);
    const log = await d.json<{ events: { type: string; data: { attachments?: unknown } }[] }>("GET", `/tasks/${task.id}/logs`);
    expect(log.events.find(({ type }) => type === "task.created")?.data.attachments).toEqual([image]);
    const stranger = newId("attachment", 0);
    expect(await failed(give([image.id, stranger]))).toMatchObject({ status: 400, message: expect.stringContaining(stranger) as unknown, details: { "attachments.1": "not in this session" } });
    expect(await failed(give([image.id, image.id]))).toMatchObject({ status: 400 });
    expect(await failed(give(Array.from({ length: 11 }, () => newId("attachment", 0))))).toMatchObject({ status: 400, message: expect.stringContaining("at most 10") as unknown });
    const large = new Uint8Array(7 * 1024 * 1024);
    large.set(PNG);
    const three = [await made(send(large)), await made(send(large)), await made(send(large))];
    expect(await failed(give(three.map(({ id }) => id)))).toMatchObject({ status: 400, message: expect.stringContaining("together") as unknown });
  });

  it("goes with its workspace", async () => {
    const image = await made(send(PNG));
    const { objects } = storageOf(d.env, d.records);
    expect([await dropAttachments(objects, d.one.id, session.workspace_id), await dropAttachments(objects, d.one.id, session.workspace_id)]).toEqual([1, 0]);
    expect(await failed(read(image.id))).toMatchObject({ status: 404, message: expect.stringContaining("went with its workspace") as unknown });
  });
});

describe("the runner's door", () => {
  it("gives an image to the run token of its session and to no other", async () => {
    const objects = fakeObjects();
    d = await doors(objects.env);
    Object.assign(d.env, { BUCKET: bindings.BUCKET });
    session = await d.json<Session>("POST", "/sessions", { body: { agent: "scripted" } }, 201);
    const image = await made(send(PNG));
    const token = newToken("run");
    const held = objects.sessions.get(session.id);
    if (held) held.runHash = await hashToken(token);
    const fetched = (key: string, id = image.id) => d.raw(`/links/attachments/${session.id}/${id}`, { headers: { authorization: `Bearer ${key}` } });
    const good = await fetched(token);
    expect([good.status, new Uint8Array(await good.arrayBuffer())]).toEqual([200, PNG]);
    expect([(await fetched(newToken("run"))).status, (await fetched(d.one.token)).status, (await fetched(token, newId("attachment", 0))).status]).toEqual([401, 401, 404]);
  });
});
