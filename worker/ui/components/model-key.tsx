/** Owns the form with which a session's own model key is given again: it ends with the runner that it was given for, and is kept nowhere. */

import { useState } from "preact/hooks";
import type { Session } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { put } from "../store/fleet.ts";
import { Dialog } from "./dialog.tsx";
import { wordsOf } from "./notices.tsx";

/** `resumes`: the session is suspended, and goes on with what is given here. */
export function ModelKey({ session: { id }, resumes, onClose }: { session: Session; resumes: boolean; onClose: () => void }) {
  const [key, setKey] = useState("");
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<string | null>(null);
  async function send(): Promise<void> {
    setBusy(true);
    setFault(null);
    const given = key.trim() ? { api_key: key.trim() } : {};
    try {
      put(await (resumes ? client.sessions.resume(id, given) : client.sessions.update(id, given)));
      onClose();
    } catch (error) {
      setFault(wordsOf(error));
      setBusy(false);
    }
  }
  return (
    <Dialog title={resumes ? "Resume with a model key" : "Give a model key"} onClose={onClose}>
      <form class="stack" onSubmit={(event) => { event.preventDefault(); void send(); }}>
        <p class="hint">This session has a model key of its own. It is sealed for its runner and ends with it{resumes ? "; where the sandbox was only frozen, it still has it" : "; with another, the session gets a new runner"}.</p>
        <label>Model key<input type="password" autocomplete="off" autofocus value={key} onInput={(event) => setKey(event.currentTarget.value)} placeholder={resumes ? "empty: without one" : ""} required={!resumes} /></label>
        {fault !== null && <p class="field-fault" role="alert">{fault}</p>}
        <div class="dialog-foot"><button type="button" onClick={onClose}>Cancel</button><button type="submit" class="primary" disabled={busy}>{resumes ? "Resume" : "Give it"}</button></div>
      </form>
    </Dialog>
  );
}
