/** Owns what a person does with a session as a whole: suspend, resume, fork, end. */

import { useLocation } from "preact-iso";
import { useEffect, useState } from "preact/hooks";
import type { Capsule, Session } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { put, refresh } from "../store/fleet.ts";
import { Dialog } from "./dialog.tsx";
import { ago, bytes } from "./format.ts";
import { Icon } from "./icon.tsx";
import { ModelKey } from "./model-key.tsx";
import { attempt, wordsOf } from "./notices.tsx";
import { clock } from "../store/clock.ts";

const WHY = { task_end: "a task ended", suspend: "it was suspended", manual: "someone asked" } as const;

function Fork({ session, onClose }: { session: Session; onClose: () => void }) {
  const { route } = useLocation();
  const [capsules, setCapsules] = useState<Capsule[] | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const [chosen, setChosen] = useState<string>("");
  useEffect(() => {
    void (async () => {
      const all: Capsule[] = [];
      try {
        for await (const capsule of client.sessions.capsules(session.id, { limit: 50 })) if (all.push(capsule) >= 50) break;
      } catch (error) {
        setFault(wordsOf(error));
      }
      setCapsules(all);
      setChosen(all[0]?.id ?? "");
    })();
  }, [session.id]);
  async function fork(): Promise<void> {
    setBusy(true);
    setFault(null);
    try {
      const made = await client.sessions.fork(session.id, { capsule_id: chosen, name: `${session.name ?? session.agent} (fork)`.slice(0, 120) });
      put(made);
      onClose();
      route(`/sessions/${made.id}`);
    } catch (error) {
      setFault(wordsOf(error));
      setBusy(false);
    }
  }
  return (
    <Dialog title="Fork this session" onClose={onClose}>
      <p class="hint">A new session with the files and the conversation as they were at one of these points. This one goes on as it is.</p>
      {capsules?.length === 0 && <p>There is no point to fork from yet: one is kept at the end of every task.</p>}
      {capsules && capsules.length > 0 && (
        <fieldset class="stack"><legend>Point</legend>
          {capsules.map((capsule) => <label key={capsule.id} class="row choice"><input type="radio" name="capsule" checked={chosen === capsule.id} onChange={() => setChosen(capsule.id)} /><span>When {WHY[capsule.why]}, {ago(capsule.created_at, clock.value)}</span><span class="hint">event {capsule.seq} · {capsule.workspace.files} files, {bytes(capsule.workspace.bytes)}</span></label>)}
        </fieldset>
      )}
      {fault !== null && <p class="field-fault" role="alert">{fault}</p>}
      <div class="dialog-foot"><button type="button" onClick={onClose}>Cancel</button><button type="button" class="primary" disabled={busy || !chosen} onClick={() => void fork()}>Fork</button></div>
    </Dialog>
  );
}

export function Lifecycle({ session }: { session: Session }) {
  const [forking, setForking] = useState(false);
  const [keying, setKeying] = useState(false);
  const act = (what: string, work: () => Promise<unknown>) => void attempt(what, work).then(() => refresh(session.id));
  const { id, status } = session;
  return (
    <div class="row lifecycle">
      {status === "active" && <button type="button" onClick={() => act("The session was not suspended", () => client.sessions.suspend(id))}><Icon name="pause" size={16} /> Suspend</button>}
      {(status === "suspended" || status === "suspending") && <button type="button" class="primary" disabled={status === "suspending"} onClick={() => (session.has_api_key ? setKeying(true) : act("The session was not resumed", () => client.sessions.resume(id)))}><Icon name="play" size={16} /> Resume</button>}
      <button type="button" onClick={() => setForking(true)}><Icon name="fork" size={16} /> Fork</button>
      {status !== "terminated" && <button type="button" class="danger" onClick={() => confirm("End this session for good? Its log and files stay.") && act("The session was not ended", () => client.sessions.terminate(id))}>End</button>}
      {keying && <ModelKey session={session} resumes onClose={() => setKeying(false)} />}
      {forking && <Fork session={session} onClose={() => setForking(false)} />}
    </div>
  );
}
