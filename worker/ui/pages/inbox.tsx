/** Owns the page of all that waits for a person: one request at a time in view, answered by thumb or by keyboard. */

import "../styles/session.css";
import "../styles/inbox.css";
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Permission } from "../../../sdk/index.ts";
import { ago, plain } from "../components/format.ts";
import { Answers, answer, Ask } from "../components/permission-card.tsx";
import { Empty, Fault, Waiting } from "../components/panel.tsx";
import { RuleForm } from "../components/rule-form.tsx";
import { alerts, askForAlerts } from "../store/alerts.ts";
import { clock } from "../store/clock.ts";
import { sessions } from "../store/fleet.ts";
import { failure, mine, pending, read, rereadPermissions } from "../store/permissions.ts";

const current = signal<string | null>(null);

/** The request that keys answer. Where someone else answered it, there is none until the person goes to another: a key on its way must not answer the next. */
function activeOf(all: readonly Permission[]): string | null {
  const id = current.value;
  if (id === null || mine.has(id)) return all.find((each) => each.id === id)?.id ?? all[0]?.id ?? null;
  return all.some((each) => each.id === id) ? id : null;
}

function sessionName({ session_id }: Permission): string {
  const session = sessions.value.get(session_id)?.value;
  return session?.name ?? (session ? `${session.agent} ${session_id.slice(-5)}` : session_id);
}

function Request({ permission, active }: { permission: Permission; active: boolean }) {
  const [ruling, setRuling] = useState(false);
  const ref = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (active) ref.current?.scrollIntoView({ block: "nearest" });
  }, [active]);
  return (
    <li ref={ref} id={permission.id} class={active ? "request active" : "request"} aria-current={active ? "true" : undefined} onFocusCapture={() => (current.value = permission.id)} onClick={() => (current.value = permission.id)}>
      <p class="row request-head"><a href={`/sessions/${permission.session_id}`}>{plain(sessionName(permission))}</a><time class="soft" dateTime={permission.created_at}>{ago(permission.created_at, clock.value)}</time></p>
      <Ask asked={permission} />
      {ruling ? <RuleForm permission={permission} onDone={() => setRuling(false)} /> : <div class="row"><Answers id={permission.id} asked={permission} />{permission.tool !== "budget" && <button type="button" class="quiet" onClick={() => setRuling(true)}>By a rule …</button>}</div>}
    </li>
  );
}

/** True where a key press belongs to a field or a button. */
function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

function useKeys(): void {
  useEffect(() => {
    function pressed(event: KeyboardEvent): void {
      if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
      const all = pending.value;
      const chosen = activeOf(all);
      const at = Math.max(0, all.findIndex(({ id }) => id === chosen));
      const here = all[at];
      if (!here) return;
      if (chosen === null) {
        // Only what a person has seen marked is answered.
        if (/^(?:[jk]|Arrow(?:Down|Up))$/.test(event.key)) current.value = here.id;
        return;
      }
      // Whoever writes a reason or a rule means no command.
      if (/^[atsdr]$/.test(event.key) && document.getElementById(here.id)?.querySelector("form.denial, form.rule-form")) return;
      const step = (by: number) => (current.value = all[Math.min(all.length - 1, Math.max(0, at + by))]?.id ?? null);
      const press = (label: string) => document.getElementById(here.id)?.querySelectorAll("button").forEach((button) => button.textContent?.startsWith(label) && button.click());
      const approve = (scope: "once" | "turn" | "session") => {
        step(at === all.length - 1 ? -1 : 1);
        void answer(here.id, { allow: true, scope });
      };
      if (event.key === "j" || event.key === "ArrowDown") step(1);
      else if (event.key === "k" || event.key === "ArrowUp") step(-1);
      else if (event.key === "a") approve("once");
      else if (event.key === "t") approve("turn");
      else if (event.key === "s") approve("session");
      else if (event.key === "d") press("Deny");
      else if (event.key === "r") press("By a rule");
      else return;
      event.preventDefault();
    }
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}

export function Inbox() {
  useKeys();
  const all = pending.value;
  const active = activeOf(all);
  // What was answered while nobody looked at this page is no surprise.
  useEffect(() => void (pending.value.some(({ id }) => id === current.value) || (current.value = null)), []);
  // Looked up again: a key may have been faster than this.
  useEffect(() => void (current.value = activeOf(pending.value) ?? current.value), [active]);
  return (
    <main class="page inbox">
      <header class="page-head">
        <h1>Inbox</h1>
        {alerts.value === "default" && <button type="button" onClick={() => void askForAlerts()}>Notify me when this tab is hidden</button>}
      </header>
      {failure.value !== null && <Fault error={failure.value} again={() => void rereadPermissions()} />}
      {!read.value && <Waiting what="Reading what waits" />}
      {read.value && all.length === 0 && <Empty icon="check" title="Nothing waits for you"><p>When an agent asks whether it may do something, it is here.</p></Empty>}
      {all.length > 0 && <p class="hint keys">Keys: <kbd>j</kbd> <kbd>k</kbd> move · <kbd>a</kbd> approve · <kbd>t</kbd> for the turn · <kbd>s</kbd> for the session · <kbd>d</kbd> deny · <kbd>r</kbd> by a rule</p>}
      {all.length > 0 && active === null && <p class="hint" role="status">That one waits no more: someone else answered it, or its task has ended.</p>}
      <ul class="requests">{all.map((permission) => <Request key={permission.id} permission={permission} active={permission.id === active} />)}</ul>
    </main>
  );
}
