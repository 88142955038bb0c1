/** Owns answering what asks for money: what is spent of which cap, and the cap from now on. */

import { useState } from "preact/hooks";
import { client } from "../client.ts";
import { forget, mine } from "../store/permissions.ts";
import { count, dollars } from "./format.ts";
import { attempt } from "./notices.tsx";

interface Caps {
  max_cost_usd: number | null;
  max_tokens: number | null;
}
const numberOf = (value: unknown): number | null => (typeof value === "number" ? value : null);

/** Caps that a request of the tool `budget` proposes. */
function proposed(input: unknown): Caps {
  const raise = typeof input === "object" && input !== null && "raise_to" in input ? input.raise_to : null;
  const { max_cost_usd, max_tokens } = (typeof raise === "object" && raise !== null ? raise : {}) as Record<string, unknown>;
  return { max_cost_usd: numberOf(max_cost_usd), max_tokens: numberOf(max_tokens) };
}

/** A cap with what is spent of it and what is left. */
export function CapMeters({ caps }: { caps: Caps & { spent_cost_usd: number; spent_tokens: number } }) {
  const { max_cost_usd: most, max_tokens: tokens, spent_cost_usd: spent, spent_tokens: used } = caps;
  return (
    <>
      {most !== null && <p class="cap"><meter min={0} max={most || 1} high={most * 0.8} value={spent} aria-label="Spent of the budget" /><span class="hint">{dollars(spent)} of {dollars(most)}, {dollars(Math.max(0, most - spent))} left</span></p>}
      {tokens !== null && <p class="cap"><meter min={0} max={tokens || 1} high={tokens * 0.8} value={used} aria-label="Tokens used of the budget" /><span class="hint">{count(used)} of {count(tokens)} tokens, {count(Math.max(0, tokens - used))} left</span></p>}
    </>
  );
}

/** Grants the caps in the fields, which begin with what the server proposes. */
export function CapForm({ id, input, onDeny }: { id: string; input: unknown; onDeny: () => void }) {
  const first = proposed(input);
  const [cost, setCost] = useState(first.max_cost_usd === null ? "" : String(first.max_cost_usd));
  const [tokens, setTokens] = useState(first.max_tokens === null ? "" : String(first.max_tokens));
  const [busy, setBusy] = useState(false);
  async function grant(): Promise<void> {
    setBusy(true);
    const budget = { max_cost_usd: cost === "" ? null : Number(cost), max_tokens: tokens === "" ? null : Number(tokens) };
    mine.add(id);
    if (await attempt("The cap was not raised", () => client.permissions.approve(id, { budget }), "The cap was raised")) forget(id);
    setBusy(false);
  }
  return (
    <form class="stack answers" onSubmit={(event) => { event.preventDefault(); void grant(); }}>
      <div class="columns">
        {first.max_cost_usd !== null && <label>New cap in dollars<input type="number" min="0" step="any" required value={cost} onInput={(event) => setCost(event.currentTarget.value)} /></label>}
        {first.max_tokens !== null && <label>New cap in tokens<input type="number" min="0" step="1" required value={tokens} onInput={(event) => setTokens(event.currentTarget.value)} /></label>}
      </div>
      <div class="row"><button type="submit" class="primary" disabled={busy}>Raise the cap</button><button type="button" class="danger" disabled={busy} onClick={onDeny}>Deny …</button></div>
    </form>
  );
}
