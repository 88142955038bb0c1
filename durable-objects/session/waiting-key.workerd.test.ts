/** Owns the tests of a model key that waits for its runner: it outlives the object's memory, and nothing that is stored shows it. */

import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { Failure, gatewayToken, hashToken, ok, openModelKey, unwrap, type SpawnSpec } from "../../sdk/protocol/index.ts";
import type { KeySafe } from "../ports.ts";
import { actor, Subject } from "./fixture.ts";

const KEY = "sk-ant-the-owners-own-key";

/** Seals as a fake may: bound to its owner, and not readable at a glance. */
class Safe implements KeySafe {
  away = false;
  gone = false;
  opened = 0;
  #flip(text: string): string {
    return Array.from(text, (char) => String.fromCharCode(char.charCodeAt(0) ^ 0x55)).join("");
  }
  async seal(tenantId: string, sessionId: string, key: string): Promise<string> {
    if (this.away) throw new Failure("unavailable", "the database is away");
    return btoa(this.#flip(`${tenantId}/${sessionId}/${key}`));
  }
  async open(tenantId: string, sessionId: string, sealed: string): Promise<string> {
    if (this.away) throw new Failure("unavailable", "the database is away");
    this.opened++;
    const [tenant, session, key = ""] = this.#flip(atob(sealed)).split("/");
    if (this.gone || tenant !== tenantId || session !== sessionId) throw new Failure("conflict", "the tenant's key is gone");
    return key;
  }
}

async function queued(input: object = {}): Promise<{ subject: Subject; safe: Safe }> {
  const subject = new Subject();
  const safe = new Safe();
  subject.keySafe = safe;
  subject.fakes.lease = () => ok({ granted: false, reason: "every host is full" });
  await subject.create({ api_key: KEY, ...input });
  await subject.task();
  await vi.waitUntil(() => subject.fakes.requests.length > 0);
  await vi.waitUntil(async () => (await waiting(subject)).length > 0);
  return { subject, safe };
}
const waiting = (subject: Subject) => runInDurableObject(subject.object, (_, { storage }) => storage.sql.exec<{ sealed: string; runner_id: string | null }>("select sealed, runner_id from waiting_key").toArray());
const grant = (subject: Subject) => subject.rpc.leaseGranted(subject.fakes.requests.at(-1)?.epoch ?? 0, subject.fakes.hostId);

/** The key that the runner's agent calls with. */
async function keyOf(subject: Subject, spec: SpawnSpec): Promise<string | null> {
  const token = await gatewayToken(spec.run_token);
  const { key } = unwrap(await subject.rpc.claimGateway(await hashToken(token)));
  return key.kind === "byok" ? openModelKey(token, subject.id, key.sealed) : null;
}
/** All that the object has stored, as text. */
function stored(subject: Subject): Promise<string> {
  return runInDurableObject(subject.object, (_, { storage }) => {
    const tables = storage.sql.exec<{ name: string }>("select name from sqlite_master where type = 'table' and name not like '\\_cf%' escape '\\' and name not like 'sqlite%'").toArray();
    return tables.map(({ name }) => JSON.stringify(storage.sql.exec(`select * from "${name}"`).toArray(), (_key, value: unknown) => (value instanceof ArrayBuffer ? new TextDecoder().decode(value) : value))).join("\n");
  });
}

describe("a model key that waits for a runner", () => {
  it("outlives an eviction while its session is queued, then opens with the runner's token only, and is stored nowhere else", async () => {
    const { subject } = await queued();
    expect(await stored(subject)).not.toContain(KEY);
    await subject.evict();
    await grant(subject);
    const spec = await subject.spawned();
    expect(spec).toMatchObject({ needs_key: false });
    expect(await keyOf(subject, spec)).toBe(KEY);
    await vi.waitUntil(async () => (await waiting(subject)).length === 0);
    expect(await stored(subject)).not.toContain(KEY);
  });
  it("outlives an eviction between the runner's token and its spawn", async () => {
    const { subject } = await queued();
    subject.fakes.spawn = async () => {
      throw new Error("the host's object is away");
    };
    await grant(subject);
    const lost = await subject.spawned();
    expect(await waiting(subject)).toMatchObject([{ runner_id: lost.runner_id }]);
    await subject.evict();
    subject.fakes.spawn = async () => ok({ ok: true, provider: "process", sandbox: "process", isolation: "none" });
    subject.fakes.lease = () => ok({ granted: true, host_id: subject.fakes.hostId });
    const renewed = () => subject.fakes.spawns.find(({ runner_id }) => runner_id !== lost.runner_id);
    await vi.waitUntil(() => renewed() !== undefined, { timeout: 20_000 });
    expect(await keyOf(subject, renewed() ?? lost)).toBe(KEY);
    await vi.waitUntil(async () => (await waiting(subject)).length === 0);
  });
  it("waits on where the first host refuses its runner", async () => {
    const { subject } = await queued();
    subject.fakes.spawn = async () => ok({ ok: false, error: { code: "host_unavailable", message: "no room" }, retryable: true });
    await grant(subject);
    await subject.spawned();
    expect(await waiting(subject)).toHaveLength(1);
  });
  it("is the later one where another is given meanwhile, also to a runner that is being started", async () => {
    const { subject } = await queued();
    unwrap(await subject.rpc.update(actor, { api_key: "sk-ant-second" }));
    await vi.waitUntil(async () => (await waiting(subject)).length === 1);
    await subject.evict();
    await grant(subject);
    expect(await keyOf(subject, await subject.spawned())).toBe("sk-ant-second");
  });
  it("ends with its session, and where an agent config takes its place", async () => {
    const { subject } = await queued();
    unwrap(await subject.rpc.terminate(actor));
    expect(await waiting(subject)).toEqual([]);
    const other = await queued();
    unwrap(await other.subject.rpc.update(actor, { agent_config: "acfg_1" }));
    expect(await waiting(other.subject)).toEqual([]);
  });
  it("is asked for again where its tenant's key is gone: the task says so, and nothing is left", async () => {
    const { subject, safe } = await queued();
    safe.gone = true;
    await subject.evict();
    await grant(subject);
    expect(await subject.spawned()).toMatchObject({ needs_key: true });
    expect(await waiting(subject)).toEqual([]);
  });
  it("serves its runner from memory where nothing seals it", async () => {
    const subject = await new Subject().create({ api_key: KEY });
    await subject.task();
    expect(await keyOf(subject, await subject.spawned())).toBe(KEY);
    expect(await stored(subject)).not.toContain(KEY);
  });
});
