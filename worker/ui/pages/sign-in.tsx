/** Owns the page of who is not signed in: a key in, and where to get one. */

import { useState } from "preact/hooks";
import { enter, trouble } from "../store/me.ts";

export function SignIn() {
  const [key, setKey] = useState("");
  const [busy, setBusy] = useState(false);
  return (
    <main class="sign-in">
      <form onSubmit={(event) => { event.preventDefault(); setBusy(true); void enter(key).finally(() => setBusy(false)); }}>
        <img src="/favicon.svg" alt="" width="48" height="48" />
        <h1>Marionette</h1>
        <label>API key<input name="key" type="password" autocomplete="current-password" placeholder="mk_…" value={key} onInput={(event) => setKey(event.currentTarget.value)} autofocus required spellcheck={false} aria-describedby="key-hint" aria-invalid={trouble.value !== null} /></label>
        <p id="key-hint" class="hint"><code>npm start</code> shows the first key. It is exchanged for a cookie that no script can read.</p>
        {trouble.value !== null && <p class="field-fault" role="alert">{trouble.value}</p>}
        <button class="primary" type="submit" disabled={busy || key === ""}>{busy ? "Signing in …" : "Sign in"}</button>
      </form>
    </main>
  );
}
