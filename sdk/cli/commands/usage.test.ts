/** Owns the tests of `mctl agent-configs`, `mctl usage` and `mctl budgets`: what they ask of the API, what they print, and what they refuse. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeApi, type Seen } from "../../../test/support/fake-api.ts";
import { FakeIo } from "../../../test/support/fake-io.ts";
import { agentConfig, agentConfigCreate, agentConfigPatch, budget, budgetCreate, budgetPatch, newId, pricing, usageReport, type AgentConfig, type Budget } from "../../protocol/index.ts";

const AT = "2026-11-21T10:00:00.000Z";
const SECRET = "sk-ant-api03-the-whole-key";
const CONFIG: AgentConfig = agentConfig.parse({
  id: newId("agent_config", 1), tenant_id: newId("tenant", 1), name: "house", agent: null, api: "anthropic", model: "claude-sonnet-4-5", base_url: null, key: "sk-ant-…key", shared: false, requests_per_minute: 60, created_at: AT, updated_at: AT,
});
const BUDGET: Budget = budget.parse({
  id: newId("budget", 1), tenant_id: newId("tenant", 1), name: "web", scope: "label", label: { name: "team", value: "web" }, period: "month", max_cost_usd: 50, max_tokens: null, spent_cost_usd: 12.5, spent_tokens: 90_000,
  reserved_cost_usd: 0, reserved_tokens: 0, period_start: AT, created_at: AT, updated_at: AT,
});
const sums = {
  requests: 7, estimated_requests: 1, unpriced_requests: 2, failed_requests: 0, input_tokens: 1_200, output_tokens: 340, cache_read_tokens: 800, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: 0.1234, cache_hit_rate: 0.4, median_ttft_ms: 210,
  median_duration_ms: 900,
};
const page = (items: unknown[]) => ({ items, total: items.length, limit: 50, offset: 0, next_cursor: null });

let api: FakeApi;
beforeEach(async () => {
  api = await new FakeApi().start();
});
afterEach(() => api.close());

/** Runs mctl against an API whose routes answer as told. */
async function run(answers: Record<string, unknown>, ...argv: string[]): Promise<{ code: number; out: string; err: string; last: Seen | undefined }> {
  for (const [route, body] of Object.entries(answers)) {
    const text = typeof body === "string";
    api.faults.set(route, [{ status: 200, headers: { "content-type": text ? "text/csv" : "application/json" }, body: text ? body : JSON.stringify(body) }]);
  }
  const io = new FakeIo({ env: { MARIONETTE_API_URL: api.url, MARIONETTE_API_KEY: api.apiKey, HOUSE_KEY: SECRET } });
  const code = await io.run(...argv);
  return { code, out: io.out, err: io.err, last: api.requests.at(-1) };
}

describe("mctl agent-configs", () => {
  it("creates one with the key of a variable, and shows it masked", async () => {
    const { code, out, err, last } = await run({ "POST /agent-configs": CONFIG }, "agent-configs", "create", "--name", "house", "--key-env", "HOUSE_KEY", "--model", "claude-sonnet-4-5", "--base-url", "https://models.example/v1", "--requests-per-minute", "60", "--shared");
    expect([code, err]).toEqual([0, ""]);
    expect(agentConfigCreate.parse(last?.body)).toMatchObject({ name: "house", key: SECRET, model: "claude-sonnet-4-5", base_url: "https://models.example/v1", requests_per_minute: 60, shared: true });
    expect(out).toContain("sk-ant-…key");
    expect(out).not.toContain(SECRET);
  });
  it("prints the id alone with --quiet", async () => {
    expect((await run({ "POST /agent-configs": CONFIG }, "agent-configs", "create", "-q", "--name", "house", "--key-env", "HOUSE_KEY")).out).toBe(`${CONFIG.id}\n`);
  });
  it("asks nothing of the API where the variable is not there, or nothing is to change", async () => {
    const missing = await run({}, "agent-configs", "create", "--name", "house", "--key-env", "NO_SUCH_KEY");
    expect(missing).toMatchObject({ code: 1, err: expect.stringContaining("NO_SUCH_KEY") as string });
    expect(await run({}, "agent-configs", "update", CONFIG.id)).toMatchObject({ code: 1, err: expect.stringContaining("Nothing to change") as string });
    expect(api.requests).toEqual([]);
  });
  it("lists them, and says where there are none", async () => {
    const { out } = await run({ "GET /agent-configs": page([CONFIG]) }, "agent-configs", "list");
    expect(out).toMatch(/ID +NAME +API +KEY +MODEL +AGE\n/);
    expect(out).toContain(CONFIG.id);
    expect((await run({ "GET /agent-configs": page([]) }, "agent-configs", "list")).err).toContain("No agent configs.");
    expect(JSON.parse((await run({ "GET /agent-configs": page([CONFIG]) }, "agent-configs", "list", "-o", "json")).out)).toMatchObject([{ id: CONFIG.id }]);
  });
  it("changes only what is given", async () => {
    const { code, last } = await run({ [`PATCH /${CONFIG.id}`]: CONFIG }, "agent-configs", "update", CONFIG.id, "--key-env", "HOUSE_KEY", "--requests-per-minute", "5");
    expect(code).toBe(0);
    expect(agentConfigPatch.parse(last?.body)).toEqual({ key: SECRET, requests_per_minute: 5 });
  });
  it("ends as its test ends", async () => {
    const outcome = { status: 200, model: "claude-haiku-4-5", duration_ms: 321.4, message: "api.anthropic.com answered as claude-haiku-4-5" };
    expect(await run({ "POST /test": { ok: true, ...outcome } }, "agent-configs", "test", CONFIG.id)).toMatchObject({ code: 0, out: "It works: api.anthropic.com answered as claude-haiku-4-5 (321 ms)\n" });
    expect(await run({ "POST /test": { ok: false, ...outcome, status: 401, message: "The provider does not take this key" } }, "agent-configs", "test", CONFIG.id)).toMatchObject({ code: 1, out: expect.stringContaining("It does not work: The provider does not take this key") as string });
  });
  it("deletes one by id", async () => {
    const { code, err, last } = await run({ [`DELETE /${CONFIG.id}`]: CONFIG }, "agent-configs", "delete", CONFIG.id);
    expect([code, last?.method, last?.path]).toEqual([0, "DELETE", `/api/v1/agent-configs/${CONFIG.id}`]);
    expect(err).toContain(`Deleted house (${CONFIG.id}).`);
  });
  it("says in the API's words what it refuses", async () => {
    const io = new FakeIo({ env: { MARIONETTE_API_URL: api.url, MARIONETTE_API_KEY: api.apiKey } });
    expect(await io.run("agent-configs", "test", CONFIG.id)).not.toBe(0);
    expect(io.err).toContain("No such route");
  });
});

describe("mctl usage", () => {
  const report = usageReport.parse({ group_by: "model", from: null, to: null, rows: [{ ...sums, key: "claude-sonnet-4-5" }, { ...sums, key: null, unpriced_requests: 0 }], total: sums });

  it("shows rows and the sum, and which calls had no price", async () => {
    const { code, out, err, last } = await run({ "GET /usage": report }, "usage", "show", "--by", "label:team", "--selector", "agent=claude", "--from", "2026-11-01T00:00:00Z");
    expect(code).toBe(0);
    expect(Object.fromEntries(last?.query ?? [])).toEqual({ group_by: "label:team", selector: "agent=claude", from: "2026-11-01T00:00:00Z" });
    expect(out).toMatch(/LABEL:TEAM +CALLS +COST/);
    expect(out).toMatch(/claude-sonnet-4-5 +7 +\$0\.1234 .*40%.* 2\n/);
    expect(err).toContain("7 calls, $0.1234, and 2 calls without a price.");
  });
  it("passes CSV through untouched, and JSON whole", async () => {
    const csv = "model,requests\r\n\"a,b\",7\r\n";
    const said = await run({ "GET /usage": csv }, "usage", "show", "--csv");
    expect([said.out, said.last?.query.get("format")]).toEqual([csv, "csv"]);
    expect(JSON.parse((await run({ "GET /usage": report }, "usage", "show", "-o", "json")).out)).toEqual(report);
  });
  it("shows the prices with their version", async () => {
    const book = pricing.parse({ version: "2026-11-01", models: [{ match: "claude-sonnet-4*", input: 3, output: 15, cache_read: 0.3, source: "file" }] });
    const { out, err } = await run({ "GET /pricing": book }, "usage", "prices");
    expect(out).toMatch(/claude-sonnet-4\* +3 +15 +0\.3/);
    expect(err).toContain("Version 2026-11-01.");
  });
});

describe("mctl budgets", () => {
  it("creates one for a label, and prints its id", async () => {
    const { code, out, last } = await run({ "POST /budgets": BUDGET }, "budgets", "create", "--label", "team=web", "--max-cost", "50", "--period", "month", "--name", "web");
    expect([code, out]).toEqual([0, `${BUDGET.id}\n`]);
    expect(budgetCreate.parse(last?.body)).toEqual({ label: { name: "team", value: "web" }, max_cost_usd: 50, max_tokens: null, period: "month", name: "web" });
  });
  it.each([
    [["create", "--max-cost", "a lot"], "--max-cost is not an amount of US dollars: 'a lot'"],
    [["create", "--max-cost", "-1"], "--max-cost"],
    [["create", "--max-tokens", "1.5"], "--max-tokens is not a number of tokens: '1.5'"],
    [["create", "--label", "a=1", "--label", "b=2", "--max-cost", "1"], "A budget has one label"],
    [["create", "--max-cost", "1", "--period", "week"], "--period cannot be 'week'"],
    [["update", "bud_1"], "Nothing to change"],
  ])("refuses %j", async (argv, words) => {
    const { code, err } = await run({}, "budgets", ...argv);
    expect(code).toBe(1);
    expect(err).toContain(words);
    expect(api.requests).toEqual([]);
  });
  it("lists what is spent of each", async () => {
    const { out } = await run({ "GET /budgets": { items: [BUDGET, { ...BUDGET, id: newId("budget", 2), label: null, scope: "tenant", max_cost_usd: null, max_tokens: 1_000_000 }] } }, "budgets", "list");
    expect(out).toContain("team=web");
    expect(out).toContain("$12.50 of $50.00");
    expect(out).toContain("the tenant");
  });
  it("changes one cap and leaves the other, and lifts one", async () => {
    const { code, err, last } = await run({ [`PATCH /${BUDGET.id}`]: BUDGET }, "budgets", "update", BUDGET.id, "--max-cost", "100");
    expect([code, budgetPatch.parse(last?.body)]).toEqual([0, { max_cost_usd: 100 }]);
    expect(err).toContain(`Changed ${BUDGET.id}.`);
    const lifted = await run({ [`DELETE /${BUDGET.id}`]: BUDGET }, "budgets", "delete", BUDGET.id);
    expect([lifted.code, lifted.last?.path]).toEqual([0, `/api/v1/budgets/${BUDGET.id}`]);
    expect(lifted.err).toContain(`Lifted ${BUDGET.id}.`);
  });
});
