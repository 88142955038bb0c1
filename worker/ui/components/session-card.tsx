/** Owns one card of the fleet: what the session is, what it does, its last line and what it has cost. It follows its log only while it is in sight. */

import type { Signal } from "@preact/signals";
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Session } from "../../../sdk/index.ts";
import { clock } from "../store/clock.ts";
import { followCard, type CardLine } from "../store/cards.ts";
import { ago, dollars, plain } from "./format.ts";
import { StateBadge, stateOf } from "./state.tsx";

function useLine(session: Signal<Session>) {
  const line = useSignal<CardLine | null>(null);
  const ref = useRef<HTMLElement>(null);
  const { id } = session.value;
  const lively = session.value.status !== "terminated" && session.value.status !== "suspended";
  useEffect(() => {
    const element = ref.current;
    if (!element || !lively) return undefined;
    let stop: (() => void) | null = null;
    const watcher = new IntersectionObserver(([entry]) => {
      if (entry?.isIntersecting && !stop) {
        const feed = followCard(id);
        const unsubscribe = feed.line.subscribe((next) => {
          if (next) line.value = next;
        });
        stop = () => {
          unsubscribe();
          feed.close();
        };
      } else if (!entry?.isIntersecting && stop) {
        stop();
        stop = null;
      }
    });
    watcher.observe(element);
    return () => {
      watcher.disconnect();
      stop?.();
    };
  }, [id, lively, line]);
  return { ref, line };
}

export interface CardProps {
  session: Signal<Session>;
  selected: boolean;
  onSelect: (selected: boolean) => void;
}

export function SessionCard({ session, selected, onSelect }: CardProps) {
  const { ref, line } = useLine(session);
  const it = session.value;
  const name = it.name ?? `${it.agent} ${it.id.slice(-5)}`;
  const state = stateOf(it, line.value?.now ?? null, clock.value);
  return (
    <article ref={ref} class={`session-card ${state.tone}`}>
      <header>
        <input type="checkbox" aria-label={`Select ${name}`} checked={selected} onChange={(event) => onSelect(event.currentTarget.checked)} />
        <a class="session-name" href={`/sessions/${it.id}`}>{plain(name)}</a>
        <StateBadge state={state} />
      </header>
      <p class={`last-line ${line.value?.tone ?? "plain"}`} dir="auto">{plain(line.value?.text || it.status_reason || "") || " "}</p>
      <footer>
        <span>{it.agent}{it.model ? ` · ${it.model}` : ""}</span>
        {it.queued_tasks > 0 && <span>{it.queued_tasks} queued</span>}
        <span class="spread" />
        {it.usage.cost_usd !== null && <span>{dollars(it.usage.cost_usd)}</span>}
        <time dateTime={it.created_at} title={it.created_at}>{ago(it.updated_at, clock.value)}</time>
      </footer>
      {Object.keys(it.labels).length > 0 && <p class="row labels">{Object.entries(it.labels).map(([key, value]) => <span key={key} class="badge">{plain(key)}: {plain(value)}</span>)}</p>}
    </article>
  );
}
