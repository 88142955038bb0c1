/** Owns the settings of money: budgets of the tenant and of labels, and the prices that calls are counted with. */

import { useEffect, useState } from "preact/hooks";
import type { ModelPrice, Pricing } from "../../../../sdk/index.ts";
import { client } from "../../client.ts";
import { count, dollars, plain } from "../../components/format.ts";
import { attempt } from "../../components/notices.tsx";
import { Fault, Waiting } from "../../components/panel.tsx";
import { useList } from "../../components/use-list.ts";

const budgets = () => client.budgets.list();
const BLANK = { label: "", period: "month", cost: "", tokens: "" };

export function Budgets() {
  const { items, error, again } = useList(budgets);
  const [fields, setFields] = useState(BLANK);
  const set = (name: keyof typeof BLANK) => (event: { currentTarget: { value: string } }) => setFields((before) => ({ ...before, [name]: event.currentTarget.value }));
  const create = () => attempt("The budget was not set", async () => {
    const [name = "", value = ""] = fields.label.split(/[:=]/, 2).map((part) => part.trim());
    if (name && !value) throw new Error("write the label as name: value");
    await client.budgets.create({ period: fields.period as "month", label: name ? { name, value } : null, max_cost_usd: fields.cost ? Number(fields.cost) : null, max_tokens: fields.tokens ? Number(fields.tokens) : null });
    setFields(BLANK);
    again();
  }, "Set");
  return (
    <section class="stack">
      <form class="card settings-form" onSubmit={(event) => { event.preventDefault(); void create(); }}>
        <h2>New budget</h2>
        <p class="hint">At 80 % there is a warning; at 100 % calls are refused, and the session asks its owner.</p>
        <div class="columns">
          <label>For the label<input value={fields.label} onInput={set("label")} placeholder="everything, or team: web" /></label>
          <label>Begins anew<select value={fields.period} onChange={set("period")}><option value="day">every day</option><option value="month">every month</option><option value="total">never</option></select></label>
          <label>Most dollars<input type="number" min="0" step="any" value={fields.cost} onInput={set("cost")} /></label>
          <label>Most tokens<input type="number" min="0" value={fields.tokens} onInput={set("tokens")} /></label>
        </div>
        <div class="row"><button type="submit" class="primary" disabled={!fields.cost && !fields.tokens}>Set the budget</button></div>
      </form>
      {error !== null && <Fault error={error} again={again} />}
      {items === null && error === null && <Waiting what="Reading budgets" />}
      {items?.map((budget) => (
        <article key={budget.id} class="card settings-form">
          <header class="page-head"><h2>{budget.label ? `${plain(budget.label.name)}: ${plain(budget.label.value)}` : "Everything"}<span class="soft"> · {budget.period === "total" ? "in all" : `each ${budget.period}`}</span></h2><button type="button" class="danger" onClick={() => void attempt("The budget was not lifted", () => client.budgets.delete(budget.id), "Lifted").then(again)}>Lift</button></header>
          {budget.max_cost_usd !== null && <p><meter min={0} max={budget.max_cost_usd || 1} high={budget.max_cost_usd * 0.8} value={budget.spent_cost_usd} aria-label="Spent" /> {dollars(budget.spent_cost_usd)} of {dollars(budget.max_cost_usd)}</p>}
          {budget.max_tokens !== null && <p><meter min={0} max={budget.max_tokens || 1} high={budget.max_tokens * 0.8} value={budget.spent_tokens} aria-label="Tokens used" /> {count(budget.spent_tokens)} of {count(budget.max_tokens)} tokens</p>}
        </article>
      ))}
    </section>
  );
}

export function Prices() {
  const [pricing, setPricing] = useState<Pricing | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [fields, setFields] = useState({ match: "", input: "", output: "" });
  useEffect(() => {
    client.usage.prices().then(setPricing, setError);
  }, []);
  const own: ModelPrice[] = (pricing?.models ?? []).flatMap(({ source, ...price }) => (source === "tenant" ? [price] : []));
  const put = (models: ModelPrice[], done: string) => attempt("The prices were not set", async () => setPricing(await client.usage.setPrices(models)), done);
  return (
    <section class="stack">
      <form class="card settings-form" onSubmit={(event) => { event.preventDefault(); void put([...own.filter(({ match }) => match !== fields.match), { match: fields.match, input: Number(fields.input), output: Number(fields.output) }], "Set").then((went) => went && setFields({ match: "", input: "", output: "" })); }}>
        <h2>Your own price</h2>
        <p class="hint">US dollars for a million tokens; * stands for anything. It goes before the price book, for calls from now on.</p>
        <div class="columns">
          <label>Model<input value={fields.match} onInput={(event) => setFields({ ...fields, match: event.currentTarget.value })} placeholder="my-model-*" required /></label>
          <label>In<input type="number" min="0" step="any" value={fields.input} onInput={(event) => setFields({ ...fields, input: event.currentTarget.value })} required /></label>
          <label>Out<input type="number" min="0" step="any" value={fields.output} onInput={(event) => setFields({ ...fields, output: event.currentTarget.value })} required /></label>
        </div>
        <div class="row"><button type="submit" class="primary">Set the price</button></div>
      </form>
      {error !== null && <Fault error={error} />}
      {pricing && <div class="table-scroll card" tabIndex={0} role="group" aria-label="Table"><table>
        <thead><tr><th>Model</th><th class="number">In</th><th class="number">Out</th><th class="number">Cache read</th><th class="number">Cache write</th><th><span class="visually-hidden">Actions</span></th></tr></thead>
        <tbody>{pricing.models.map((price) => <tr key={`${price.source}:${price.match}`}><td class="mono">{price.match}</td><td class="number">{dollars(price.input)}</td><td class="number">{dollars(price.output)}</td><td class="number">{price.cache_read === undefined ? "–" : dollars(price.cache_read)}</td><td class="number">{price.cache_write === undefined ? "–" : dollars(price.cache_write)}</td><td class="number">{price.source === "tenant" ? <button type="button" class="danger" onClick={() => void put(own.filter(({ match }) => match !== price.match), "Removed")}>Remove</button> : <span class="hint">book {pricing.version}</span>}</td></tr>)}</tbody>
      </table></div>}
    </section>
  );
}
