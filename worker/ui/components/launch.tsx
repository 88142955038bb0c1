/** Owns the form that launches a session: the agent and the prompt first, where it works and what it may do and spend, all else with a sane default behind a fold. */

import { useLocation } from "preact-iso";
import { useState } from "preact/hooks";
import type { SessionCreateParams } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { put } from "../store/fleet.ts";
import { begun, paramsOf, rememberAgent, type Wanted } from "../store/wanted.ts";
import { Dialog } from "./dialog.tsx";
import { plain } from "./format.ts";
import { wordsOf } from "./notices.tsx";
import { ProfileField } from "./profile-field.tsx";
import { AgentField, agentOf, LimitFields, MoreFields, useKnown } from "./session-fields.tsx";

type SessionDirectory = NonNullable<SessionCreateParams["directory"]>;

/** `directory`: where on which host it is to work, instead of a workspace of its own. */
export function Launch({ onClose, directory }: { onClose: () => void; directory?: SessionDirectory }) {
  const { route } = useLocation();
  const known = useKnown(directory?.host_id);
  const [fields, setFields] = useState(begun);
  const [prompt, setPrompt] = useState("");
  const [apiKey, setApiKey] = useState("");
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<string | null>(null);
  const set = (patch: Partial<Wanted>) => setFields((before) => ({ ...before, ...patch }));
  const agent = agentOf(fields, known);

  async function launch(): Promise<void> {
    setBusy(true);
    setFault(null);
    try {
      const session = await client.sessions.create({
        ...paramsOf({ ...fields, agent, ...(directory && { place: "new" as const }) }), lifecycle_mode: fields.lifecycle_mode, ...(apiKey.trim() && { api_key: apiKey.trim() }), ...(directory && { directory }),
      });
      put(session);
      rememberAgent(agent);
      if (prompt.trim()) await client.tasks.create(session.id, { prompt: prompt.trim() });
      onClose();
      route(`/sessions/${session.id}`);
    } catch (error) {
      setFault(wordsOf(error));
      setBusy(false);
    }
  }
  const { hosts } = known;
  return (
    <Dialog title="Launch an agent" onClose={onClose}>
      <form class="stack" onSubmit={(event) => { event.preventDefault(); void launch(); }}>
        {hosts !== null && hosts.length === 0 && <p class="field-fault">No host is online: the session will wait until one is.</p>}
        <AgentField fields={fields} set={set} known={known} />
        <label>Prompt<textarea rows={4} value={prompt} onInput={(event) => setPrompt(event.currentTarget.value)} placeholder="What shall the agent do?" autofocus /></label>
        {directory && <p class="hint">In <code>{plain(directory.path)}</code>{hosts?.[0] && ` on ${plain(hosts[0].name)}`}, on the files as they are there.</p>}
        <LimitFields fields={fields} set={set} known={known} fixed={directory !== undefined} />
        <MoreFields fields={fields} set={set} known={known} apiKey={{ value: apiKey, set: setApiKey }} />
        <ProfileField fields={{ ...fields, agent }} onFields={setFields} />
        {(fault ?? known.fault) !== null && <p class="field-fault" role="alert">{fault ?? known.fault}</p>}
        <div class="dialog-foot"><button type="button" onClick={onClose}>Cancel</button><button type="submit" class="primary" disabled={busy || agent === ""}>{busy ? "Launching …" : "Launch"}</button></div>
      </form>
    </Dialog>
  );
}
