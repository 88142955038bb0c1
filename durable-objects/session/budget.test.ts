/** Owns the tests of the session's budget: whatever calls, answers and deaths come in whatever order, caps hold and nothing stays reserved. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newId, type BudgetCaps, type BudgetNotice, type ModelRequest, type SessionCreate, type TaskCreate } from "../../sdk/protocol/index.ts";
import { nears, NOTHING, stateOf, type Largest, type Tally } from "../base/caps.ts";
import { CALL_SILENCE_MS, type CallReport, type ModelCall } from "./budget.ts";
import { nextDeadline } from "./machine.ts";
import { Simulation } from "./simulation.ts";
import type { Input } from "./state.ts";

const nano = (usd: number) => Math.round(usd * 1e9);
const call = (id: string, largest: Largest): ModelCall => ({ id, api: "anthropic.messages", model: "claude-haiku-4-5", stream: true, largest, priced: largest.cost_usd !== null, price_version: "1" });
function report({ id, api, model, stream, priced, price_version }: ModelCall, used: { tokens: number; cost_usd: number | null }): CallReport {
  return {
    id, api, model, stream, priced, price_version, key_source: "deployment", agent_config_id: null, upstream: "api.anthropic.com", outcome: "completed", status: 200, stop_reason: "end_turn",
    input_tokens: used.tokens, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: used.cost_usd, estimated: false, retries: 0, ttft_ms: 1, duration_ms: 2, error: null,
  };
}

/** A session with a book of its own: what was opened, what it cost, what was told. */
class World extends Simulation {
  readonly records: ModelRequest[] = [];
  /** Calls that were let through and have not ended, by id. */
  readonly open = new Map<string, { call: ModelCall; task: string | null }>();
  readonly spent = new Map<string, Tally>();
  /** How often four fifths were reached. */
  readonly reached = { session: 0, task: 0 };
  readonly #near = new Map<string, boolean>();
  // Not private: the session is created before it is there.
  watching = false;
  #calls = 0;

  constructor(input: Partial<SessionCreate>, task: Partial<TaskCreate>) {
    super(input);
    this.watching = true;
    this.task(task);
    this.attached();
  }

  override feed(input: Input): this {
    super.feed(input);
    return this.watching ? this.#watch() : this;
  }

  begin(largest: Largest): string | null {
    const made = call(newId("model_request", this.now + this.#calls++), largest);
    const task = this.state.running?.task ?? null;
    this.feed({ type: "model.open", call: made, permission_id: newId("permission", this.now) });
    if (this.refused !== null) return null;
    this.open.set(made.id, { call: made, task: task?.id ?? null });
    this.#holds(made);
    return made.id;
  }
  end(id: string, share: number): void {
    const found = this.open.get(id);
    if (!found) return;
    const { largest } = found.call;
    const used = { tokens: Math.floor(largest.tokens * share), cost_usd: largest.cost_usd === null ? null : Math.floor(nano(largest.cost_usd) * share) / 1e9 };
    const said = report(found.call, used);
    this.feed({ type: "model.settle", report: said, notices: [] });
    // Said again: it counts once.
    this.feed({ type: "model.settle", report: said, notices: [] });
  }
  /** The object dies and is started anew from what it stored. */
  crash(): void {
    this.state = JSON.parse(JSON.stringify(this.state)) as typeof this.state;
    this.feed({ type: "woken", linked: true });
  }
  warnings(scope: BudgetNotice["scope"]): number {
    return this.log.filter(({ item }) => item.type === "budget.warning" && item.data.scope === scope).length;
  }
  get questions() {
    return [...this.permissions.values()].filter(({ tool }) => tool === "budget");
  }

  /** What was let through fits every cap, with all that is under way. */
  #holds({ largest }: ModelCall): void {
    const { gateway, running } = this.state;
    const budgets = [gateway.caps && stateOf(gateway.caps, gateway.spent, this.#reserved(null)), running?.task.budget && { ...running.task.budget, reserved_cost_usd: this.#reserved(running.task.id).cost_usd, reserved_tokens: this.#reserved(running.task.id).tokens }];
    for (const budget of budgets) {
      if (!budget) continue;
      if (budget.max_cost_usd !== null) {
        expect(largest.cost_usd).not.toBeNull();
        expect(nano(budget.spent_cost_usd) + nano(budget.reserved_cost_usd)).toBeLessThanOrEqual(nano(budget.max_cost_usd));
      }
      if (budget.max_tokens !== null) expect(budget.spent_tokens + budget.reserved_tokens).toBeLessThanOrEqual(budget.max_tokens);
    }
  }
  #reserved(task: string | null): Tally {
    const of = [...this.open.values()].filter((each) => task === null || each.task === task).map((each) => each.call.largest);
    return { cost_usd: of.reduce((sum, { cost_usd }) => sum + nano(cost_usd ?? 0), 0) / 1e9, tokens: of.reduce((sum, { tokens }) => sum + tokens, 0) };
  }
  #spend(who: string, cost_usd: number, tokens: number): void {
    const before = this.spent.get(who) ?? NOTHING;
    this.spent.set(who, { cost_usd: (nano(before.cost_usd) + nano(cost_usd)) / 1e9, tokens: before.tokens + tokens });
  }

  #watch(): this {
    for (const effect of this.last) {
      if (effect.kind !== "put.request") continue;
      const { id, outcome, cost_usd, input_tokens, task_id } = effect.value;
      const known = this.open.get(id);
      expect(known, "a call ends once").toBeDefined();
      if (outcome === "lost") expect(effect.value).toMatchObject({ estimated: true, input_tokens: known?.call.largest.tokens, cost_usd: known?.call.largest.cost_usd });
      this.open.delete(id);
      this.records.push(effect.value);
      expect(task_id).toBe(known?.task ?? null);
      this.#spend("session", cost_usd ?? 0, input_tokens);
      if (task_id !== null) this.#spend(task_id, cost_usd ?? 0, input_tokens);
    }
    const { gateway, running, queue, permissions } = this.state;
    expect(gateway.spent).toEqual(this.spent.get("session") ?? NOTHING);
    this.#nears("session", "session", gateway.caps, gateway.spent);
    for (const task of [...queue, ...(running ? [running.task] : [])]) {
      if (!task.budget) continue;
      const spent = { cost_usd: task.budget.spent_cost_usd, tokens: task.budget.spent_tokens };
      expect(spent).toEqual(this.spent.get(task.id) ?? NOTHING);
      this.#nears(task.id, "task", task.budget, spent);
    }
    expect(this.questions.filter(({ status }) => status === "pending").length).toBe(gateway.question ? 1 : 0);
    if (gateway.question) expect(permissions.some(({ id }) => id === gateway.question?.permission_id)).toBe(true);
    expect(this.warnings("session")).toBe(this.reached.session);
    expect(this.warnings("task")).toBe(this.reached.task);
    return this;
  }
  #nears(who: string, scope: "session" | "task", caps: BudgetCaps | null, spent: Tally): void {
    const near = caps !== null && nears(caps, spent);
    if (near && !this.#near.get(who)) this.reached[scope]++;
    this.#near.set(who, near);
  }
}

const caps = fc.record({ max_cost_usd: fc.option(fc.integer({ min: 0, max: 100 }).map((cents) => cents / 100)), max_tokens: fc.option(fc.integer({ min: 0, max: 10_000 })) }).filter(({ max_cost_usd, max_tokens }) => max_cost_usd !== null || max_tokens !== null);
const largest = fc.record({ cost_usd: fc.option(fc.integer({ min: 0, max: 400_000_000 }).map((n) => n / 1e9), { freq: 12 }), tokens: fc.integer({ min: 1, max: 4_000 }) });
const which = fc.nat(20);
const act = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant("open" as const), largest }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("settle" as const), which, share: fc.constantFrom(0, 0.1, 0.5, 0.8, 1) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("keep" as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("above" as const), which, ask: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("answer" as const), decision: fc.constantFrom("approved" as const, "approved" as const, "denied" as const), caps: fc.option(caps) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("caps" as const), caps: fc.option(caps) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1, 1_000, 60_000, 179_999, 180_000) }) },
  { weight: 2, arbitrary: fc.constant({ do: "crash" as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("ended" as const), how: fc.constantFrom("completed" as const, "failed" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("task" as const), caps: fc.option(caps) }) },
  { weight: 1, arbitrary: fc.constant({ do: "attach" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "lost" as const }) },
);
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never;

function perform(world: World, one: Act): void {
  const pick = (n: number) => [...world.open.keys()][n % Math.max(1, world.open.size)] ?? "";
  const { question } = world.state.gateway;
  switch (one.do) {
    case "open": return void world.begin(one.largest);
    case "settle": return world.end(pick(one.which), one.share);
    case "keep": return void world.feed({ type: "model.keep", id: pick(one.which), via: null });
    case "above": {
      const id = pick(one.which);
      const notice: BudgetNotice = { scope: "tenant", budget_id: newId("budget", 1), what: "this tenant", ...stateOf({ max_cost_usd: 1, max_tokens: null }, NOTHING, NOTHING) };
      world.open.delete(id);
      return void world.feed({ type: "model.refused", id, notice, ask: one.ask, permission_id: newId("permission", world.now) });
    }
    case "answer": {
      if (!question) return;
      const known = world.permissions.get(question.permission_id) ?? null;
      world.answers.set(question.permission_id, one.decision);
      return void world.feed({ type: "permission.answer", id: question.permission_id, decision: one.decision, actor: { tenant_id: newId("tenant", 1), key_id: newId("key", 1), key_name: "anna" }, reason: null, scope: "once", known, caps: one.caps });
    }
    case "caps": return void world.feed({ type: "session.update", patch: { budget: one.caps } });
    case "wait": {
      world.tick(one.ms);
      for (const { deadline } of world.state.gateway.calls) expect(deadline, "what was silent for too long is settled").toBeGreaterThan(world.now);
      return;
    }
    case "crash": return world.crash();
    case "ended": return void (world.state.running && world.reports(one.how, one.how === "failed" ? { error: { code: "agent_failed", message: "no" } } : {}));
    case "task": return void world.task({ max_retries: 1, ...(one.caps && { budget: one.caps }) });
    case "attach": return void (world.state.attachment?.runner_id == null && world.state.attachment && world.attached());
    case "lost": return void world.feed({ type: "link.broken", epoch: world.state.counters.epoch, reason: "gone" });
  }
}

describe("a session's budget, whatever happens in whatever order", () => {
  it("never lets more through than its caps, leaks nothing, warns once at four fifths, asks once, and settles what is lost", () => {
    fc.assert(
      fc.property(fc.option(caps), fc.option(caps), fc.array(act, { maxLength: 80, size: "max" }), (session, task, acts) => {
        const world = new World(session ? { budget: session } : {}, { max_retries: 2, ...(task && { budget: task }) });
        for (const one of acts) {
          perform(world, one);
          expect(world.state.gateway.calls.map(({ id }) => id)).toEqual([...world.open.keys()]);
        }
        // Every edge dies: the most that its calls can have cost is what they have cost.
        world.tick(CALL_SILENCE_MS);
        expect(world.state.gateway.calls).toEqual([]);
        expect(world.open.size).toBe(0);
        world.settle();
        expect(world.state.gateway.question).toBeNull();
        expect(world.state.queue).toEqual([]);
        const asked = world.log.filter(({ item }) => item.type === "budget.exceeded").length;
        expect(world.questions.length).toBe(asked);
      }),
      { numRuns: 200 },
    );
  });
});

describe("a session's budget", () => {
  const world = (input: Partial<SessionCreate> = {}, task: Partial<TaskCreate> = {}) => new World(input, task);
  const cost = (cost_usd: number, tokens = 10): Largest => ({ cost_usd, tokens });

  it("warns at four fifths once, and again only when the raised cap is near", () => {
    const it = world({ budget: { max_cost_usd: 1, max_tokens: null } });
    for (const share of [0.5, 1, 1]) it.end(it.begin(cost(0.3)) ?? "", share);
    expect(it.warnings("session")).toBe(0);
    it.end(it.begin(cost(0.05)) ?? "", 1);
    it.end(it.begin(cost(0.1)) ?? "", 1);
    expect(it.warnings("session")).toBe(1);
    expect(it.log.find(({ item }) => item.type === "budget.warning")?.item.data).toMatchObject({ scope: "session", max_cost_usd: 1, spent_cost_usd: 0.8 });
    expect(it.begin(cost(0.3))).toBeNull();
    expect(it.refused).toBe("budget_exceeded");
    it.answer(it.questions[0]?.id ?? "");
    expect(it.state.gateway.caps?.max_cost_usd).toBe(2);
    it.end(it.begin(cost(1)) ?? "", 0.85);
    expect(it.warnings("session")).toBe(2);
  });
  it("is told of four fifths at once where its cap is lowered to there", () => {
    const it = world({ budget: { max_cost_usd: null, max_tokens: 1_000 } });
    it.end(it.begin(cost(0, 500)) ?? "", 1);
    it.feed({ type: "session.update", patch: { budget: { max_cost_usd: null, max_tokens: 600 } } }).feed({ type: "session.update", patch: { budget: { max_cost_usd: null, max_tokens: 550 } } });
    expect(it.warnings("session")).toBe(1);
  });
  it("asks once while many calls meet its end, and not again of a run whose question was denied", () => {
    const it = world({ budget: { max_cost_usd: 0.1, max_tokens: null } });
    for (let i = 0; i < 5; i++) expect(it.begin(cost(0.2))).toBeNull();
    expect(it.questions.length).toBe(1);
    it.answer(it.questions[0]?.id ?? "", "denied");
    for (let i = 0; i < 5; i++) expect(it.begin(cost(0.2))).toBeNull();
    expect(it.questions.length).toBe(1);
  });
  it("tells a call to wait, and asks nobody, where others only have reserved what is left", () => {
    const it = world({ budget: { max_cost_usd: 1, max_tokens: null } });
    const first = it.begin(cost(0.7));
    expect(it.begin(cost(0.7))).toBeNull();
    expect([it.refused, it.questions.length]).toEqual(["rate_limited", 0]);
    it.end(first ?? "", 0.1);
    expect(it.begin(cost(0.7))).not.toBeNull();
  });
  it("settles a call that nobody ends as the most that it can have cost, after its silence and not before", () => {
    const it = world({ budget: { max_cost_usd: 1, max_tokens: null } });
    const id = it.begin(cost(0.9, 77)) ?? "";
    it.tick(CALL_SILENCE_MS - 1);
    it.feed({ type: "model.keep", id, via: { key_source: "agent_config", agent_config_id: newId("agent_config", 1), upstream: "models.example" } });
    it.tick(CALL_SILENCE_MS - 1);
    expect(it.records).toEqual([]);
    expect(nextDeadline(it.state)).toBeLessThanOrEqual(it.now + 1);
    it.crash();
    it.tick(1);
    expect(it.records).toMatchObject([{ id, outcome: "lost", estimated: true, cost_usd: 0.9, input_tokens: 77, key_source: "agent_config", upstream: "models.example" }]);
    expect(it.warnings("session")).toBe(1);
    // What the edge says after all comes too late to count twice.
    it.feed({ type: "model.settle", report: report(call(id, cost(0.9)), { tokens: 5, cost_usd: 0.1 }), notices: [] });
    expect(it.records.length).toBe(1);
  });
  it("counts a call that ends after its run for the task that waits to be tried again", () => {
    const it = world({}, { max_retries: 3, budget: { max_cost_usd: 1, max_tokens: null } });
    const id = it.begin(cost(0.9)) ?? "";
    it.reports("failed", { error: { code: "agent_failed", message: "no" } });
    it.end(id, 1);
    expect(it.state.queue[0]?.budget).toMatchObject({ spent_cost_usd: 0.9 });
    expect(it.warnings("task")).toBe(1);
  });
  it("knows with whose key a lost call was made", () => {
    const config = newId("agent_config", 1);
    const it = world({ agent_config: config });
    it.begin(cost(0.1));
    it.tick(CALL_SILENCE_MS);
    expect(it.records).toMatchObject([{ outcome: "lost", key_source: "agent_config", agent_config_id: config, upstream: "unknown" }]);
  });
});
