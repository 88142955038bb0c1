/** Owns the tests of how the session stores its model calls: a row for each that is under way, and records until the database has them. */

import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { gatewayToken, hashToken, newId, unwrap, type ModelRequest } from "../../sdk/protocol/index.ts";
import { CALL_SILENCE_MS, type CallReport, type ModelCall } from "./budget.ts";
import { Subject, type SessionInside } from "./fixture.ts";
import { Requests } from "./gateway-requests.ts";

const call = (tokens: number, id = newId("model_request", Date.now())): ModelCall => ({ id, api: "anthropic.messages", model: "claude-haiku-4-5", stream: true, largest: { cost_usd: null, tokens }, priced: false, price_version: "1" });
const report = ({ id, api, model, stream, priced, price_version }: ModelCall, tokens: number): CallReport => ({
  id, api, model, stream, priced, price_version, key_source: "deployment", agent_config_id: null, upstream: "api.anthropic.com", outcome: "completed", status: 200, stop_reason: "end_turn",
  input_tokens: tokens, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: null, estimated: false, retries: 0, ttft_ms: 1, duration_ms: 2, error: null,
});

/** A session with a runner, and the hash of its gateway's token. */
async function calling(max_tokens: number): Promise<{ subject: Subject; hash: string }> {
  const subject = await new Subject().create({ budget: { max_cost_usd: null, max_tokens } });
  await subject.task();
  const { run_token } = await subject.spawned();
  return { subject, hash: await hashToken(await gatewayToken(run_token)) };
}
const slices = (subject: Subject) => runInDurableObject(subject.object, (_, { storage }) => Object.fromEntries(storage.sql.exec<{ name: string; value: string }>("select name, value from slices order by rowid").toArray().map(({ name, value }) => [name, value])));
const rows = async (subject: Subject) => Object.keys(await slices(subject)).filter((name) => name.startsWith("call:")).map((name) => name.slice(5));
const budget = async (subject: Subject) => (await subject.session()).budget;

describe("model calls under way", () => {
  it("never reserve more than there is, however many are opened at once", async () => {
    const { subject, hash } = await calling(1_000);
    const answers = await Promise.all(Array.from({ length: 60 }, () => subject.rpc.openCall(hash, call(90))));
    expect(answers.filter(({ ok }) => ok)).toHaveLength(11);
    expect(answers.filter((answer) => !answer.ok && answer.error.code === "rate_limited")).toHaveLength(49);
    expect(await budget(subject)).toMatchObject({ reserved_tokens: 990, spent_tokens: 0 });
    expect(await rows(subject)).toHaveLength(11);
  });

  it("are each a row of their own, which the death of the object leaves as it was", async () => {
    const { subject, hash } = await calling(1_000);
    const calls = [call(100), call(200), call(300)] as const;
    const [a, b, c] = calls;
    for (const each of calls) unwrap(await subject.rpc.openCall(hash, each));
    expect(await rows(subject)).toEqual(calls.map(({ id }) => id));
    expect(JSON.parse((await slices(subject))["gateway"] ?? "")).toMatchObject({ calls: [] });
    await subject.evict();
    expect(await budget(subject)).toMatchObject({ reserved_tokens: 600, spent_tokens: 0 });
    // Opened again, because the answer was lost: it is reserved once.
    unwrap(await subject.rpc.openCall(hash, a));
    await subject.rpc.keepCall(c.id);
    await subject.rpc.settleCall(report(b, 50), []);
    expect(new Set(await rows(subject))).toEqual(new Set([a.id, c.id]));
    await subject.evict();
    expect(await budget(subject)).toMatchObject({ reserved_tokens: 400, spent_tokens: 50 });
    for (const each of calls) await subject.rpc.settleCall(report(each, 10), []);
    expect([await rows(subject), await budget(subject)]).toMatchObject([[], { reserved_tokens: 0, spent_tokens: 70 }]);
  });

  it("are all settled where the edge that made them died with the object: as the most that they could cost, and recorded as lost", async () => {
    const { subject, hash } = await calling(1_000);
    const calls = [call(100), call(200)] as const;
    for (const each of calls) unwrap(await subject.rpc.openCall(hash, each));
    await subject.evict();
    const lost = await runInDurableObject(subject.object, (instance) => {
      const { engine } = instance as unknown as SessionInside;
      vi.spyOn(Date, "now").mockReturnValue(Date.now() + CALL_SILENCE_MS + 1_000);
      try {
        engine.feed({ type: "tick" });
      } finally {
        vi.restoreAllMocks();
      }
      return engine.requests.first(10).map(({ id, outcome, input_tokens, estimated }) => ({ id, outcome, input_tokens, estimated }));
    });
    expect(lost).toEqual(calls.map(({ id, largest }) => ({ id, outcome: "lost", input_tokens: largest.tokens, estimated: true })));
    expect([await rows(subject), await budget(subject)]).toMatchObject([[], { reserved_tokens: 0, spent_tokens: 300 }]);
    // The edge lives after all, and says so late: what is settled stays.
    await subject.rpc.settleCall(report(calls[0], 5), []);
    expect(await budget(subject)).toMatchObject({ reserved_tokens: 0, spent_tokens: 300 });
  });

  it("come over from the one slice of an earlier version", async () => {
    const { subject, hash } = await calling(1_000);
    const calls = [call(100), call(200)] as const;
    for (const each of calls) unwrap(await subject.rpc.openCall(hash, each));
    await runInDurableObject(subject.object, (instance, { storage }) => {
      const { gateway } = (instance as unknown as SessionInside).engine.state;
      storage.sql.exec("delete from slices where name like 'call:%'");
      storage.sql.exec("insert or replace into slices values ('gateway', ?)", JSON.stringify(gateway));
    });
    await subject.evict();
    expect(await budget(subject)).toMatchObject({ reserved_tokens: 300 });
    expect(await rows(subject)).toEqual(calls.map(({ id }) => id));
    await subject.rpc.settleCall(report(calls[0], 1), []);
    await subject.evict();
    expect(await budget(subject)).toMatchObject({ reserved_tokens: 200, spent_tokens: 1 });
  });
});

describe("records of calls", () => {
  it("wait until the database has them, and are struck off with the next one, or by themselves", async () => {
    const subject = await new Subject().create();
    await runInDurableObject(subject.object, (_, { storage }) => {
      const value = (id: string) => ({ id }) as ModelRequest;
      const ids = (requests: Requests) => requests.first(10).map(({ id }) => id);
      const stored = () => storage.sql.exec<{ id: string }>("select id from model_requests order by rowid").toArray().map(({ id }) => id);
      const requests = new Requests(storage.sql);
      expect(requests.any).toBe(false);
      requests.put(value("a"));
      requests.put(value("b"));
      expect(ids(requests)).toEqual(["a", "b"]);
      // One comes while they are on their way.
      requests.put(value("c"));
      requests.recorded(["a", "b"], true);
      expect([requests.any, stored()]).toEqual([true, ["a", "b", "c"]]);
      // The object dies: they are sent again, which does no harm.
      expect(ids(new Requests(storage.sql))).toEqual(["a", "b", "c"]);
      requests.put(value("d"));
      expect(stored()).toEqual(["c", "d"]);
      expect(requests.first(1).map(({ id }) => id)).toEqual(["c"]);
      requests.recorded(["c"], false);
      expect([requests.any, ids(requests)]).toEqual([true, ["d"]]);
      requests.recorded(["d"], true);
      expect(requests.any).toBe(false);
      requests.settle();
      expect([stored(), new Requests(storage.sql).any]).toEqual([[], false]);
    });
  });
});
