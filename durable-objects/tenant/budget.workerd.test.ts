/** Owns the tests of the tenant's budgets over the runtime's own storage: sessions side by side, deaths of the object, periods, and calls that nobody ends. */

import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newId, unwrap, type Budget, type BudgetPeriod } from "../../sdk/protocol/index.ts";
import { nears, NOTHING, type Largest, type Tally } from "../base/caps.ts";
import { sampleId } from "../pool/sample.ts";
import type { ObjectsEnv } from "../ports.ts";
import { applies, Budgets, periodStart, SILENCE_MS } from "./budget.ts";

const objects = env as unknown as ObjectsEnv;
const TENANT = sampleId("ten", 1);
const T0 = Date.UTC(2026, 10, 30, 23);
const HOUR = 3_600_000;
const nano = (usd: number) => Math.round(usd * 1e9);
let object = 5_000;
function inside<T>(body: (storage: DurableObjectStorage) => T | Promise<T>): Promise<T> {
  const stub = objects.TENANTS.get(objects.TENANTS.idFromName(sampleId("ten", object++)));
  return runInDurableObject(stub, (_instance, state) => body(state.storage));
}

const RED = { name: "team", value: "red" };
const caps = fc.record({ max_cost_usd: fc.option(fc.integer({ min: 1, max: 100 }).map((cents) => cents / 100)), max_tokens: fc.option(fc.integer({ min: 1, max: 9_000 })) }).filter((each) => each.max_cost_usd !== null || each.max_tokens !== null);
const which = fc.nat(12);
const act = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant("budget" as const), caps, red: fc.boolean(), period: fc.constantFrom<BudgetPeriod[]>("day", "month", "total") }) },
  { weight: 9, arbitrary: fc.record({ do: fc.constant("reserve" as const), red: fc.boolean(), cost_usd: fc.option(fc.integer({ min: 0, max: 300_000_000 }).map((n) => n / 1e9), { freq: 12 }), tokens: fc.integer({ min: 1, max: 3_000 }) }) },
  { weight: 7, arbitrary: fc.record({ do: fc.constant("settle" as const), which, share: fc.constantFrom(0, 0.2, 0.5, 1) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("keep" as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("raise" as const), which, caps: fc.option(caps) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("update" as const), which, caps }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const), which }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1_000, 90_000, SILENCE_MS - 1, SILENCE_MS, 2 * HOUR) }) },
  { weight: 3, arbitrary: fc.constant({ do: "crash" as const }) },
);
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never;

/** The same in words that are easy to believe: every call in a list, every sum made anew. */
class Book {
  readonly storage: DurableObjectStorage;
  budgets: Budgets;
  now = T0;
  readonly known: { id: string; red: boolean; period: BudgetPeriod; since: number; spent: Tally }[] = [];
  open: { id: string; largest: Largest; deadline: number; of: string[] }[] = [];
  /** Budgets that were told of, in this period and under these caps. */
  readonly told = new Set<string>();
  #ids = 0;

  constructor(storage: DurableObjectStorage) {
    this.storage = storage;
    this.budgets = new Budgets(storage);
    for (const { id } of this.budgets.list(0)) this.budgets.remove(id, 0);
    for (const table of ["reservations", "raises"]) storage.sql.exec(`delete from ${table}`);
    this.budgets = new Budgets(storage);
  }

  perform(one: Act): void {
    this.#pass();
    const budget = "which" in one ? this.known[one.which % Math.max(1, this.known.length)] : undefined;
    const call = "which" in one ? this.open[one.which % Math.max(1, this.open.length)] : undefined;
    switch (one.do) {
      case "budget": {
        const id = newId("budget", this.now + this.#ids++);
        unwrap(this.budgets.create(TENANT, id, { label: one.red ? RED : null, period: one.period, ...one.caps }, this.now));
        this.known.push({ id, red: one.red, period: one.period, since: periodStart(one.period, this.now), spent: NOTHING });
        return;
      }
      case "reserve": return this.#reserve(one.red, { cost_usd: one.cost_usd, tokens: one.tokens });
      case "settle": {
        if (!call) return;
        const spent = { cost_usd: Math.floor(nano(call.largest.cost_usd ?? 0) * one.share) / 1e9, tokens: Math.floor(call.largest.tokens * one.share) };
        this.#hear(this.budgets.settle(call.id, spent, this.now), call.of, spent, call.id);
        expect(this.budgets.settle(call.id, spent, this.now), "what is settled stays").toEqual([]);
        return;
      }
      case "keep": {
        if (!call) return;
        call.deadline = this.now + SILENCE_MS;
        return this.budgets.keep(call.id, this.now);
      }
      case "raise": {
        if (!budget) return;
        const before = this.#read(budget.id);
        const permission = newId("permission", this.now + this.#ids++);
        for (let twice = 0; twice < 2; twice++) this.budgets.raise(budget.id, permission, one.caps, this.now);
        const after = this.#read(budget.id);
        if (one.caps) expect(after).toMatchObject(one.caps);
        else if (before.max_tokens !== null) expect(after.max_tokens).toBe(Math.max(before.max_tokens, before.spent_tokens) + before.max_tokens);
        return this.#forget(budget.id);
      }
      case "update": {
        if (!budget) return;
        expect(unwrap(this.budgets.update(budget.id, one.caps, this.now))).toMatchObject(one.caps);
        return this.#forget(budget.id);
      }
      case "remove": {
        if (!budget) return;
        unwrap(this.budgets.remove(budget.id, this.now));
        this.known.splice(this.known.indexOf(budget), 1);
        return;
      }
      case "wait": {
        this.now += one.ms;
        return;
      }
      case "crash": this.budgets = new Budgets(this.storage);
    }
  }

  check(): void {
    this.#pass();
    const shown = this.budgets.list(this.now);
    expect(shown.length).toBe(this.known.length);
    for (const { id, spent } of this.known) {
      const reserved = this.#reserved(id);
      expect(shown.find((budget) => budget.id === id)).toMatchObject({ spent_cost_usd: spent.cost_usd, spent_tokens: spent.tokens, reserved_cost_usd: reserved.cost_usd, reserved_tokens: reserved.tokens });
    }
  }

  #reserve(red: boolean, largest: Largest): void {
    const labels: Record<string, string> = red ? { team: "red" } : {};
    const id = newId("model_request", this.now + this.#ids++);
    const said = this.budgets.reserve({ id, labels, model: "m", largest, key: null }, this.now);
    if (!said.ok) return;
    expect(this.budgets.reserve({ id, labels, model: "m", largest, key: null }, this.now), "said again, it is reserved once").toEqual({ ok: true });
    const of = this.known.filter((budget) => applies({ label: budget.red ? RED : null }, labels)).map((budget) => budget.id);
    if (of.length > 0) this.open.push({ id, largest, deadline: this.now + SILENCE_MS, of });
    for (const budgetId of of) {
      const { max_cost_usd, max_tokens, spent_cost_usd, spent_tokens, reserved_cost_usd, reserved_tokens } = this.#read(budgetId);
      if (max_cost_usd !== null) {
        expect(largest.cost_usd).not.toBeNull();
        expect(nano(spent_cost_usd) + nano(reserved_cost_usd)).toBeLessThanOrEqual(nano(max_cost_usd));
      }
      if (max_tokens !== null) expect(spent_tokens + reserved_tokens).toBeLessThanOrEqual(max_tokens);
    }
  }
  /** Time has passed: periods begin anew, and what was silent for too long cost the most that it could. */
  #pass(): void {
    this.budgets.expire(this.now);
    for (const budget of this.known) {
      const since = periodStart(budget.period, this.now);
      if (since <= budget.since) continue;
      Object.assign(budget, { since, spent: NOTHING });
      this.told.delete(budget.id);
    }
    for (const { of, largest, deadline } of this.open) if (deadline <= this.now) this.#spend(of, { cost_usd: largest.cost_usd ?? 0, tokens: largest.tokens });
    this.open = this.open.filter(({ deadline }) => deadline > this.now);
  }
  #hear(notices: { budget_id: string | null }[], of: string[], spent: Tally, callId: string): void {
    this.open = this.open.filter(({ id }) => id !== callId);
    this.#spend(of, spent);
    const due = of.filter((id) => this.known.some((budget) => budget.id === id) && !this.told.has(id) && nears(this.#read(id), this.known.find((budget) => budget.id === id)?.spent ?? NOTHING));
    expect(new Set(notices.map(({ budget_id }) => budget_id)), "told of four fifths once").toEqual(new Set(due));
    expect(notices.length).toBe(due.length);
    for (const id of due) this.told.add(id);
  }
  #forget(id: string): void {
    const budget = this.#read(id);
    if (!nears(budget, { cost_usd: budget.spent_cost_usd, tokens: budget.spent_tokens })) this.told.delete(id);
  }
  #spend(of: string[], { cost_usd, tokens }: Tally): void {
    for (const budget of this.known) if (of.includes(budget.id)) budget.spent = { cost_usd: (nano(budget.spent.cost_usd) + nano(cost_usd)) / 1e9, tokens: budget.spent.tokens + tokens };
  }
  #reserved(id: string): Tally {
    const of = this.open.filter((call) => call.of.includes(id)).map(({ largest }) => largest);
    return { cost_usd: of.reduce((sum, { cost_usd }) => sum + nano(cost_usd ?? 0), 0) / 1e9, tokens: of.reduce((sum, { tokens }) => sum + tokens, 0) };
  }
  #read(id: string): Budget {
    return unwrap(this.budgets.read(id, this.now));
  }
}

describe("a tenant's budgets", () => {
  it("never let more through than their caps, leak nothing, warn once, and settle what is lost, whatever happens in whatever order", async () => {
    await inside((storage) =>
      fc.assert(
        fc.property(fc.array(act, { maxLength: 60, size: "max" }), (acts) => {
          const book = new Book(storage);
          for (const one of acts) {
            book.perform(one);
            book.check();
          }
          // Every edge dies: nothing is reserved any more.
          book.now += SILENCE_MS;
          book.check();
          for (const budget of book.budgets.list(book.now)) expect(budget).toMatchObject({ reserved_cost_usd: 0, reserved_tokens: 0 });
          expect(storage.sql.exec("select 1 from reservations").toArray()).toEqual([]);
        }),
        { numRuns: 300 },
      ),
    );
  });
  it("tell of four fifths with the next call where a lost one reached it, also after a death of the object", async () => {
    await inside((storage) => {
      const id = newId("budget", 1);
      const budgets = new Budgets(storage);
      unwrap(budgets.create(TENANT, id, { label: null, period: "total", max_cost_usd: 1, max_tokens: null }, T0));
      const call = (name: string, cost_usd: number) => ({ id: name, labels: {}, model: null, largest: { cost_usd, tokens: 1 }, key: null });
      expect(budgets.reserve(call("lost", 0.85), T0)).toEqual({ ok: true });
      expect(budgets.reserve(call("next", 0.1), T0 + SILENCE_MS)).toEqual({ ok: true });
      const again = new Budgets(storage);
      expect(again.settle("next", { cost_usd: 0.01, tokens: 1 }, T0 + SILENCE_MS)).toMatchObject([{ budget_id: id, spent_cost_usd: 0.86 }]);
      expect(again.settle("lost", { cost_usd: 0.01, tokens: 1 }, T0 + SILENCE_MS)).toEqual([]);
    });
  });
  it("keep a call that goes on, though the object was started anew since it was last heard of", async () => {
    await inside((storage) => {
      const id = newId("budget", 1);
      const budgets = new Budgets(storage);
      unwrap(budgets.create(TENANT, id, { label: null, period: "total", max_cost_usd: 1, max_tokens: null }, T0));
      budgets.reserve({ id: "long", labels: {}, model: null, largest: { cost_usd: 0.5, tokens: 1 }, key: null }, T0);
      budgets.keep("long", T0 + SILENCE_MS - 1);
      const again = new Budgets(storage);
      again.expire(T0 + SILENCE_MS + 1);
      expect(unwrap(again.read(id, T0 + SILENCE_MS + 1))).toMatchObject({ spent_cost_usd: 0, reserved_cost_usd: 0.5 });
      expect(again.settle("long", { cost_usd: 0.1, tokens: 1 }, T0 + SILENCE_MS + 2)).toEqual([]);
      expect(unwrap(again.read(id, T0 + SILENCE_MS + 2))).toMatchObject({ spent_cost_usd: 0.1, reserved_cost_usd: 0 });
    });
  });
});
