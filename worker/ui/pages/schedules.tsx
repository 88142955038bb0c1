/** Owns the page of schedules: what runs by the clock, when next and how the last time went; made, paused, resumed, run by hand and deleted here. */

import "../styles/schedules.css";
import { useEffect, useState } from "preact/hooks";
import type { Schedule, ScheduleStatus } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { Dialog } from "../components/dialog.tsx";
import { ago, ahead, moment, plain } from "../components/format.ts";
import { Icon } from "../components/icon.tsx";
import { attempt } from "../components/notices.tsx";
import { Empty, Fault, Waiting } from "../components/panel.tsx";
import { ScheduleForm } from "../components/schedule-form.tsx";
import { useList } from "../components/use-list.ts";
import { clock } from "../store/clock.ts";
import { onBus } from "../store/fleet.ts";

const schedules = () => client.schedules.list({ limit: 200 });
const TONES: Readonly<Record<ScheduleStatus, string>> = { active: "good", paused: "warn", disabled: "bad", deleted: "" };
const RAN: Readonly<Record<string, string>> = { completed: "good", failed: "bad", timeout: "bad", canceled: "warn", running: "accent", pending: "accent" };
/** Copies for lists lag a little behind what happened. */
const REREAD_MS = 1_000;

function Delete({ schedule, onClose, onDone }: { schedule: Schedule; onClose: () => void; onDone: () => void }) {
  const remove = (keep_session: boolean) => void attempt("The schedule was not deleted", () => client.schedules.delete(schedule.id, { keep_session }), "Deleted").then((went) => went && onDone());
  return (
    <Dialog title="Delete this schedule" onClose={onClose}>
      <p>{plain(schedule.name ?? schedule.prompt.slice(0, 80))} will not run any more. What it has logged stays.</p>
      <div class="dialog-foot"><button type="button" onClick={onClose}>Back</button><button type="button" onClick={() => remove(true)}>Delete, keep its session</button><button type="button" class="danger" onClick={() => remove(false)}>Delete both</button></div>
    </Dialog>
  );
}

function Card({ schedule, again }: { schedule: Schedule; again: () => void }) {
  const [deleting, setDeleting] = useState(false);
  const { id, status, last_run: last } = schedule;
  const act = (what: string, done: string, work: () => Promise<unknown>) => void attempt(what, work, done).then(again);
  return (
    <article class={`card schedule ${status}`}>
      <header class="page-head"><h2><a href={`/sessions/${schedule.session_id}`}>{plain(schedule.name ?? `${schedule.agent} ${schedule.session_id.slice(-5)}`)}</a></h2><span class={`badge ${TONES[status]}`}>{status}</span></header>
      <p class="schedule-prompt" dir="auto">{plain(schedule.prompt.slice(0, 300))}</p>
      {schedule.status_reason && <p class="hint">{plain(schedule.status_reason)}</p>}
      <dl class="facts">
        <dt>When</dt><dd><code>{schedule.cron}</code> {schedule.timezone}</dd>
        <dt>Next run</dt><dd>{schedule.next_run_at ? <time dateTime={schedule.next_run_at} title={moment(schedule.next_run_at)}>{ahead(schedule.next_run_at, clock.value)}</time> : "none"}</dd>
        <dt>Last run</dt><dd>{last ? <><span class={`badge ${RAN[last.status] ?? ""}`}>{last.status}</span> <time dateTime={last.at} title={moment(last.at)}>{ago(last.at, clock.value)}</time></> : "not yet"}</dd>
        {schedule.consecutive_failures > 0 && <><dt>Failed in a row</dt><dd>{schedule.consecutive_failures}{schedule.disable_on_failure !== null && ` of ${schedule.disable_on_failure}`}</dd></>}
        <dt>Agent</dt><dd>{plain(schedule.agent)}{schedule.model ? ` · ${plain(schedule.model)}` : ""}, {schedule.continue ? "one conversation" : "a fresh conversation each time"}</dd>
      </dl>
      <div class="row">
        <button type="button" onClick={() => act("It was not run", "It runs now", () => client.schedules.trigger(id))}><Icon name="play" size={16} /> Run now</button>
        {status === "active"
          ? <button type="button" onClick={() => act("It was not paused", "Paused", () => client.schedules.pause(id))}><Icon name="pause" size={16} /> Pause</button>
          : <button type="button" onClick={() => act("It was not resumed", "Resumed", () => client.schedules.resume(id))}>Resume</button>}
        <button type="button" class="danger" onClick={() => setDeleting(true)}>Delete …</button>
      </div>
      {deleting && <Delete schedule={schedule} onClose={() => setDeleting(false)} onDone={() => { setDeleting(false); again(); }} />}
    </article>
  );
}

export function Schedules() {
  const { items, error, again } = useList(schedules);
  const [making, setMaking] = useState(false);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = onBus((event) => {
      if (event.type === "schedule.run" || event.type === "task.status") timer ??= setTimeout(() => { timer = undefined; again(); }, REREAD_MS);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [again]);
  return (
    <main class="page">
      <header class="page-head"><h1>Schedules</h1><button type="button" class="primary" onClick={() => setMaking(true)}><Icon name="plus" size={18} /> New schedule</button></header>
      {error !== null && <Fault error={error} again={again} />}
      {items === null && error === null && <Waiting what="Reading schedules" />}
      {items?.length === 0 && <Empty icon="schedules" title="Nothing runs by the clock"><p>A schedule gives one session the same prompt again and again, and suspends it in between.</p></Empty>}
      {items && items.length > 0 && <div class="schedule-list">{items.map((schedule) => <Card key={schedule.id} schedule={schedule} again={again} />)}</div>}
      {making && <ScheduleForm onClose={() => setMaking(false)} onMade={() => { setMaking(false); again(); }} />}
    </main>
  );
}
