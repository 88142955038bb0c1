/** Owns what stands beside a transcript: progress and plan, what it cost and may cost, how it is suspended, and the states that were kept. */

import { useEffect, useState } from "preact/hooks";
import type { Capsule, Session } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { clock } from "../store/clock.ts";
import type { SessionLog } from "../store/session-log.ts";
import { CapMeters } from "./cap-form.tsx";
import { ModelKey } from "./model-key.tsx";
import { ago, bytes, count, dollars, plain, time, until } from "./format.ts";
import { refresh } from "../store/fleet.ts";
import { attempt, wordsOf } from "./notices.tsx";

const CAUSES: Readonly<Record<string, string>> = { requested: "someone asked", idle: "nothing to do", permission: "a question waited long", budget: "its budget is spent", runner_lost: "its runner was lost", schedule: "its schedule says so" };
const KEPT: Readonly<Record<string, string>> = { pause: "frozen, with its memory", snapshot: "saved by its host", terminate_preserve_storage: "files, on its host", release_to_pool: "files, in storage", terminate: "what its capsule has" };
const WHY = { task_end: "a task ended", suspend: "suspended", manual: "asked for" } as const;

function Suspension({ session: { suspension, status } }: { session: Session }) {
  if (!suspension) return null;
  return (
    <section>
      <h2>{status === "suspended" ? "Suspended" : plain(status)}</h2>
      <dl class="facts">
        <dt>Because</dt><dd>{CAUSES[suspension.cause] ?? plain(suspension.cause)}</dd><dt>Kept</dt><dd>{KEPT[suspension.strategy] ?? plain(suspension.strategy)}</dd>
        <dt>Since</dt><dd>{ago(suspension.since, clock.value)}</dd><dt>Held like this</dt><dd>{suspension.demoted_at === null ? "until it is resumed" : until(suspension.demoted_at, clock.value)}</dd>
      </dl>
    </section>
  );
}

/** What people approved beyond one call, and taking it back. */
function Approvals({ session: { id, approvals = [] } }: { session: Session }) {
  if (approvals.length === 0) return null;
  const takeBack = (gone: string) => void attempt("The approval was not taken back", () => client.sessions.update(id, { approvals: approvals.flatMap(({ permission_id }) => (permission_id === gone ? [] : [permission_id])) }), "It is asked again").then(() => refresh(id));
  return (
    <section>
      <h2>Approved</h2>
      <ul class="stack">{approvals.map(({ permission_id, scope, tool, keys, summary, by_name, by }) => (
        <li key={permission_id}>{plain(tool)} <code>{plain(keys?.join(", ") || summary).slice(0, 120)}</code><br /><span class="hint">for the {scope}, by {plain(by_name ?? by)}</span> <button type="button" class="quiet small" onClick={() => takeBack(permission_id)}>Take back</button></li>
      ))}</ul>
    </section>
  );
}

/** Read when it is opened, and again when the session has a newer one. */
function Capsules({ session }: { session: Session }) {
  const [open, setOpen] = useState(false);
  const [all, setAll] = useState<Capsule[] | null>(null);
  const [fault, setFault] = useState<string | null>(null);
  useEffect(() => {
    if (!open) return;
    void (async () => {
      const read: Capsule[] = [];
      try {
        for await (const capsule of client.sessions.capsules(session.id, { limit: 50 })) if (read.push(capsule) >= 50) break;
        setAll(read);
        setFault(null);
      } catch (error) {
        setFault(wordsOf(error));
      }
    })();
  }, [open, session.id, session.capsule_id]);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary><h2>Kept states</h2></summary>
      {fault !== null && <p class="field-fault" role="alert">{fault}</p>}
      {all === null && fault === null && <p class="hint">Reading …</p>}
      {all?.length === 0 && <p class="hint">None yet: one is kept at the end of every task.</p>}
      <ul class="stack">{all?.map((capsule) => <li key={capsule.id}>{WHY[capsule.why]}, {ago(capsule.created_at, clock.value)}<br /><span class="hint">event {capsule.seq} · {capsule.workspace.files} files, {bytes(capsule.workspace.bytes)}</span></li>)}</ul>
    </details>
  );
}

export function Beside({ session, log, inMain = false }: { session: Session; log: SessionLog; inMain?: boolean }) {
  void log.revision.value;
  const { plan, progress } = log.transcript.now;
  const { usage, budget } = session;
  const [keying, setKeying] = useState(false);
  return (
    <aside class={inMain ? "session-side in-main" : "session-side"} aria-label="About this session" tabIndex={0}>
      {progress && <section><h2>Progress</h2><p>{plain(progress.text)}</p>{progress.fraction !== undefined && <progress value={progress.fraction} max={1} aria-label="Done so far" />}</section>}
      {plan && plan.length > 0 && <section><h2>Plan</h2><ul class="plan">{plan.map((step, i) => <li key={i} class={step.status}>{plain(step.text)}</li>)}</ul></section>}
      <Suspension session={session} />
      <section>
        <h2>Cost</h2>
        <dl class="facts"><dt>Spent</dt><dd>{usage.cost_usd === null ? (usage.input_tokens + usage.output_tokens === 0 ? "nothing yet" : "not known") : dollars(usage.cost_usd)}</dd><dt>Tokens in</dt><dd>{count(usage.input_tokens)}</dd><dt>Tokens out</dt><dd>{count(usage.output_tokens)}</dd><dt>From cache</dt><dd>{count(usage.cache_read_tokens)}</dd></dl>
      </section>
      {budget && <section><h2>Budget</h2><CapMeters caps={budget} /></section>}
      <section>
        <h2>Session</h2>
        <dl class="facts"><dt>Sandbox</dt><dd title={session.runner?.isolation ?? undefined}>{session.runner?.sandbox ?? "none now"}</dd><dt>When idle</dt><dd>{session.lifecycle_mode === "always_on" ? "stays on" : "is suspended"}</dd>{session.directory && <><dt>Directory</dt><dd class="mono">{plain(session.directory.path)}</dd></>}{session.has_api_key && <><dt>Model key</dt><dd>its own {session.status !== "terminated" && <button type="button" class="quiet small" onClick={() => setKeying(true)}>Give another …</button>}</dd></>}<dt>Started</dt><dd>{time(session.created_at)}</dd><dt>Events</dt><dd>{count(session.last_seq)}</dd><dt>Id</dt><dd class="mono">{session.id}</dd></dl>
        {Object.keys(session.labels).length > 0 && <p class="row labels">{Object.entries(session.labels).map(([key, value]) => <span key={key} class="badge">{plain(key)}: {plain(value)}</span>)}</p>}
      </section>
      <Approvals session={session} />
      <Capsules session={session} />
      {keying && <ModelKey session={session} resumes={session.status === "suspended"} onClose={() => setKeying(false)} />}
    </aside>
  );
}
