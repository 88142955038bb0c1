/** Owns the live transcript of one session on the page: the log's end first, then what comes, and what was before when someone scrolls up. */

import { signal, type Signal } from "@preact/signals";
import type { Event, Live, LiveState } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { Transcript } from "./transcript.ts";

const TAIL = 600;
const OLDER = 1_000;

export interface SessionLog {
  readonly transcript: Transcript;
  /** Grows when the transcript has changed, at most once a frame. */
  readonly revision: Signal<number>;
  readonly state: Signal<LiveState>;
  readonly failure: Signal<unknown>;
  /** The part that was there at first has come. */
  readonly ready: Signal<boolean>;
  readonly loadingOlder: Signal<boolean>;
  /** Reads the part before; answers how many items came in front. */
  older(): Promise<number>;
  close(): void;
}

export function openSessionLog(id: string): SessionLog {
  const transcript = new Transcript();
  const revision = signal(0);
  const state = signal<LiveState>("connecting");
  const failure = signal<unknown>(null);
  const ready = signal(false);
  const loadingOlder = signal(false);
  let frame = 0;
  function changed(): void {
    // A hidden page gets no frames, and must not fall behind without end either.
    if (frame !== 0) return;
    const show = () => {
      frame = 0;
      revision.value = transcript.revision;
    };
    frame = document.hidden ? window.setTimeout(show, 250) : requestAnimationFrame(show);
  }
  const live: Live = client.sessions.live(id, { tail: TAIL }, {
    onEvents(events) {
      transcript.append(events);
      changed();
    },
    onCaughtUp() {
      ready.value = true;
      changed();
    },
    onState(next, error) {
      state.value = next;
      failure.value = next === "ended" ? (error ?? null) : null;
      if (next === "ended") ready.value = true;
    },
  });
  async function older(): Promise<number> {
    if (loadingOlder.value || transcript.first <= 1) return 0;
    loadingOlder.value = true;
    try {
      const before = transcript.first;
      const earlier = new Transcript();
      const events: Event[] = [];
      for await (const event of client.sessions.events(id, { after: Math.max(0, before - 1 - OLDER) })) {
        if (event.seq >= before) break;
        events.push(event);
      }
      earlier.append(events);
      const added = transcript.prepend(earlier);
      revision.value = transcript.revision;
      return added;
    } finally {
      loadingOlder.value = false;
    }
  }
  return { transcript, revision, state, failure, ready, loadingOlder, older, close: () => live.close() };
}
