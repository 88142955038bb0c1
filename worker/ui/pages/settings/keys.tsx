/** Owns the settings of API keys and of the tokens with which hosts join. */

import { useState } from "preact/hooks";
import type { KeyScope } from "../../../../sdk/index.ts";
import { client } from "../../client.ts";
import { ago, plain } from "../../components/format.ts";
import { attempt } from "../../components/notices.tsx";
import { Once } from "../../components/once.tsx";
import { Fault, Waiting } from "../../components/panel.tsx";
import { useList } from "../../components/use-list.ts";
import { clock } from "../../store/clock.ts";

const SCOPES: readonly { scope: KeyScope; says: string }[] = [
  { scope: "read", says: "see everything" }, { scope: "write", says: "start and change sessions" }, { scope: "approve", says: "answer what agents ask" }, { scope: "admin", says: "manage keys, hosts and money" },
];
const keys = () => client.keys.list({ limit: 200 });
const tokens = () => client.runnerTokens.list({ limit: 200 });

export function Keys() {
  const { items, error, again } = useList(keys);
  const [made, setMade] = useState<string | null>(null);
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<KeyScope[]>(["read", "write", "approve"]);
  const create = () => attempt("The key was not made", async () => { setMade((await client.keys.create({ name: name.trim(), scopes })).key); setName(""); again(); });
  return (
    <section class="stack">
      <form class="card settings-form" onSubmit={(event) => { event.preventDefault(); void create(); }}>
        <h2>New API key</h2>
        <label>Name<input value={name} onInput={(event) => setName(event.currentTarget.value)} maxLength={120} required placeholder="what it is for" /></label>
        <fieldset><legend>It may</legend><div class="row">{SCOPES.map(({ scope, says }) => <label key={scope} class="row check"><input type="checkbox" checked={scopes.includes(scope)} onChange={(event) => setScopes(event.currentTarget.checked ? [...scopes, scope] : scopes.filter((each) => each !== scope))} />{says}</label>)}</div></fieldset>
        <div class="row"><button type="submit" class="primary" disabled={!name.trim() || scopes.length === 0}>Make the key</button></div>
      </form>
      {error !== null && <Fault error={error} again={again} />}
      {items === null && error === null && <Waiting what="Reading keys" />}
      {items && <div class="table-scroll card" tabIndex={0} role="group" aria-label="Table"><table>
        <thead><tr><th>Name</th><th>Key</th><th>May</th><th>Last used</th><th><span class="visually-hidden">Actions</span></th></tr></thead>
        <tbody>{items.map((key) => <tr key={key.id} class={key.revoked_at ? "gone" : ""}><td>{plain(key.name)}</td><td class="mono">{key.display}…</td><td>{key.scopes.join(", ")}</td><td>{key.last_used_at ? ago(key.last_used_at, clock.value) : "never"}</td><td class="number">{key.revoked_at ? <span class="badge">revoked</span> : <button type="button" class="danger" onClick={() => confirm(`Revoke “${key.name}”? Whoever uses it is locked out within seconds.`) && void attempt("The key was not revoked", () => client.keys.revoke(key.id), "Revoked").then(again)}>Revoke</button>}</td></tr>)}</tbody>
      </table></div>}
      {made !== null && <Once title="Your new API key" secret={made} onClose={() => setMade(null)} />}
    </section>
  );
}

export function RunnerTokens() {
  const { items, error, again } = useList(tokens);
  const [made, setMade] = useState<string | null>(null);
  const [name, setName] = useState("");
  const [pool, setPool] = useState("default");
  const create = () => attempt("The token was not made", async () => { setMade((await client.runnerTokens.create({ name: name.trim(), pool })).token); setName(""); again(); });
  return (
    <section class="stack">
      <form class="card settings-form" onSubmit={(event) => { event.preventDefault(); void create(); }}>
        <h2>New runner token</h2>
        <p class="hint">A machine joins with <code>marionette-agent --server {location.origin} --token rtok_…</code></p>
        <div class="columns"><label>Name<input value={name} onInput={(event) => setName(event.currentTarget.value)} maxLength={120} required /></label><label>Pool<input value={pool} onInput={(event) => setPool(event.currentTarget.value)} required /></label></div>
        <div class="row"><button type="submit" class="primary" disabled={!name.trim()}>Make the token</button></div>
      </form>
      {error !== null && <Fault error={error} again={again} />}
      {items && <div class="table-scroll card" tabIndex={0} role="group" aria-label="Table"><table>
        <thead><tr><th>Name</th><th>Token</th><th>Pool</th><th>Made</th><th><span class="visually-hidden">Actions</span></th></tr></thead>
        <tbody>{items.map((token) => <tr key={token.id} class={token.revoked_at ? "gone" : ""}><td>{plain(token.name)}</td><td class="mono">{token.display}…</td><td>{token.pool}</td><td>{ago(token.created_at, clock.value)}</td><td class="number">{token.revoked_at ? <span class="badge">revoked</span> : <span class="row end"><button type="button" onClick={() => void attempt("The token was not rotated", async () => { setMade((await client.runnerTokens.rotate(token.id)).token); again(); })}>Rotate</button><button type="button" class="danger" onClick={() => confirm(`Revoke “${token.name}”?`) && void attempt("The token was not revoked", () => client.runnerTokens.revoke(token.id), "Revoked").then(again)}>Revoke</button></span>}</td></tr>)}</tbody>
      </table></div>}
      {made !== null && <Once title="Your new runner token" secret={made} onClose={() => setMade(null)} />}
    </section>
  );
}
