/** Owns the prompt box of a session: what is written is kept until it is sent, and a task that runs does not stop anyone from queueing the next. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { Session } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { refresh } from "../store/fleet.ts";
import { AddImages, filesOf, ImageStrip, useImages } from "./attachments.tsx";
import { attempt } from "./notices.tsx";
import { Talk } from "./talk.tsx";
import { Icon } from "./icon.tsx";

/** Said with images that come without words. */
const LOOK = "Look at the attached images.";

const EDIT_MODES = [
  { mode: "off", name: "Ask before edits" },
  { mode: "turn", name: "Edits allowed this turn" },
  { mode: "session", name: "Edits allowed" },
] as const;

export function Composer({ session }: { session: Session }) {
  const draft = `marionette.draft.${session.id}`;
  const [prompt, setPrompt] = useState(() => sessionStorage.getItem(draft) ?? "");
  const [busy, setBusy] = useState(false);
  const [over, setOver] = useState(false);
  const images = useImages(session.id);
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => sessionStorage.setItem(draft, prompt), [draft, prompt]);
  useEffect(() => {
    if (!box.current) return;
    box.current.style.height = "auto";
    box.current.style.height = `${Math.min(box.current.scrollHeight, 260)}px`;
  }, [prompt]);
  const ended = session.status === "terminated";

  async function send(written = prompt): Promise<void> {
    const text = written.trim() || (images.items.length > 0 ? LOOK : "");
    if (text === "" || busy || images.sending) return;
    const attachments = images.items.flatMap(({ id }) => id ?? []);
    setBusy(true);
    if (await attempt("The prompt was not sent", () => client.tasks.create(session.id, { prompt: text, ...(attachments.length > 0 && { attachments }) }))) {
      setPrompt("");
      images.clear();
      refresh(session.id);
    }
    setBusy(false);
    box.current?.focus();
  }
  /** What was said goes in at the cursor. */
  function heard(said: string, now: boolean): void {
    const from = box.current?.selectionStart ?? prompt.length;
    const [before, after] = [prompt.slice(0, from), prompt.slice(box.current?.selectionEnd ?? from)];
    const next = `${before}${before === "" || /\s$/.test(before) ? "" : " "}${said}${after === "" || /^\s/.test(after) ? "" : " "}${after}`;
    setPrompt(next);
    if (now) void send(next);
    else box.current?.focus();
  }
  async function cancel(): Promise<void> {
    const task = session.task_id;
    if (task) await attempt("The task was not canceled", () => client.tasks.cancel(task));
  }
  if (ended) return <p class="composer ended soft">This session has ended. Its log and its files stay.</p>;
  const verb = session.task_id !== null || session.queued_tasks > 0 ? "Queue" : "Send";
  return (
    <form
      class={over ? "composer over" : "composer"} onSubmit={(event) => { event.preventDefault(); void send(); }}
      onDragOver={(event) => { event.preventDefault(); setOver(true); }} onDragLeave={(event) => event.currentTarget === event.target && setOver(false)}
      onDrop={(event) => { event.preventDefault(); setOver(false); void images.add(filesOf(event.dataTransfer)); }}
    >
      <ImageStrip images={images} />
      <textarea
        ref={box} rows={1} aria-label="Prompt" placeholder={session.task_id ? "Queue the next prompt" : "What shall the agent do?"} value={prompt} maxLength={1_000_000}
        onInput={(event) => setPrompt(event.currentTarget.value)}
        onPaste={(event) => { const files = filesOf(event.clipboardData); if (files.length > 0) { event.preventDefault(); void images.add(files); } }}
        onKeyDown={(event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); void send(); } }}
      />
      <div class="row composer-foot">
        <label class="inline"><span class="visually-hidden">Edits</span>
          <select value={session.edit_mode} onChange={(event) => { const edit_mode = event.currentTarget.value as Session["edit_mode"]; void attempt("Edits were not changed", () => client.sessions.update(session.id, { edit_mode })).then(() => refresh(session.id)); }}>
            {EDIT_MODES.map(({ mode, name }) => <option key={mode} value={mode}>{name}</option>)}
          </select>
        </label>
        {session.queued_tasks > 0 && <span class="hint">{session.queued_tasks} in the queue</span>}
        <AddImages images={images} />
        <Talk onText={heard} />
        <span class="row composer-acts">
          {session.task_id !== null && <button type="button" class="danger" onClick={() => void cancel()}><Icon name="stop" size={16} /> Cancel</button>}
          <button type="submit" class="primary" disabled={busy || images.sending || (prompt.trim() === "" && images.items.length === 0)}><Icon name="send" size={16} /> {verb}</button>
        </span>
      </div>
    </form>
  );
}
