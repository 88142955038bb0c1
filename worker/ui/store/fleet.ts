/** Owns the page's picture of all sessions: read once, then kept by the tenant's bus; one signal a session, so that a card redraws alone. */

import { batch, computed, signal, type Signal } from "@preact/signals";
import type { Event, Live, LiveState, Session } from "../../../sdk/index.ts";
import { client } from "../client.ts";

export const sessions = signal<ReadonlyMap<string, Signal<Session>>>(new Map());
/** Whether what is shown is live, for everyone to see. */
export const connection = signal<LiveState>("connecting");
/** The first reading of the list has come. */
export const loaded = signal(false);
export const failure = signal<unknown>(null);
/** How often the bus began anew: what is kept by it is read again. */
export const rounds = signal(0);
/** Newest first. */
export const ordered = computed(() => [...sessions.value.values()].sort((a, b) => (a.peek().id < b.peek().id ? 1 : -1)));

/** Sessions whose resource is older than what the bus said of them: read again, several at once, a moment later. */
const stale = new Set<string>();
let timer: ReturnType<typeof setTimeout> | undefined;
const REREAD_MS = 150;
const MAX_LISTED = 1_000;

/** A runner's link that is back is told by no event: sessions that were seen without theirs are looked at again, until it is there or given up. */
const watched = new Set<string>();
const UNLINKED_MS = 2_500;
function watchLink({ id, runner, status }: Session): void {
  if (runner?.state !== "disconnected" || status === "terminated" || watched.has(id)) return;
  watched.add(id);
  setTimeout(() => {
    watched.delete(id);
    refresh(id);
  }, UNLINKED_MS);
}

export function put(session: Session): void {
  watchLink(session);
  const known = sessions.value.get(session.id);
  if (!known) sessions.value = new Map(sessions.value).set(session.id, signal(session));
  else if (known.peek().version <= session.version) known.value = session;
}

async function reread(): Promise<void> {
  timer = undefined;
  const ids = [...stale];
  stale.clear();
  const read = await Promise.allSettled(ids.map((id) => client.sessions.get(id)));
  batch(() => {
    for (const [i, each] of read.entries()) {
      if (each.status === "fulfilled") put(each.value);
      else {
        const before = sessions.peek().get(ids[i] ?? "");
        if (before) watchLink(before.peek());
      }
    }
  });
}

export function refresh(id: string): void {
  stale.add(id);
  timer ??= setTimeout(() => void reread(), REREAD_MS);
}

async function list(): Promise<void> {
  const all: Session[] = [];
  for await (const session of client.sessions.list({ limit: 200 })) {
    all.push(session);
    if (all.length >= MAX_LISTED) break;
  }
  batch(() => {
    const next = new Map(sessions.peek());
    for (const session of all) {
      watchLink(session);
      const known = next.get(session.id);
      if (!known) next.set(session.id, signal(session));
      else if (known.peek().version <= session.version) known.value = session;
    }
    sessions.value = next;
    loaded.value = true;
    failure.value = null;
  });
}

type Listener = (event: Event) => void;
const listeners = new Set<Listener>();
/** Hears every event of the bus; answers how to stop. */
export function onBus(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

let bus: Live | null = null;
/** Starts to watch; idempotent. The bus is opened before the list is read, so that nothing falls between them. */
export function watch(): void {
  if (bus) return;
  bus = client.events.live({}, {
    onEvents(events) {
      for (const event of events) {
        refresh(event.session_id);
        for (const listener of listeners) listener(event);
      }
    },
    onState(state, error) {
      connection.value = state;
      if (error) failure.value = error;
    },
    onCaughtUp() {
      rounds.value++;
      list().catch((error: unknown) => {
        failure.value = error;
        loaded.value = true;
      });
    },
    onGap() {
      rounds.value++;
      void list();
    },
  });
}
