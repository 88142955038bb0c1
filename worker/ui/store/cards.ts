/** Owns what a card of the fleet shows beside its session: the last line and what the agent does, followed live while the card is in sight. */

import { batch, signal, type Signal } from "@preact/signals";
import type { EventType, Live } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { Transcript, type Item, type Now } from "./transcript.ts";

export interface CardLine {
  /** The last thing that happened, in one line. */
  text: string;
  tone: "plain" | "warn" | "bad";
  now: Now | null;
}

const TYPES: readonly EventType[] = ["message", "message.delta", "thinking", "tool.call", "tool.result", "log", "task.status", "run.status", "progress", "plan", "error", "permission.requested", "permission.answered"];
/** Characters of the last line that are kept. */
const SHOWN = 240;
/** A card's transcript begins anew after so many items, each of few characters: it shows one line and keeps no history. */
const MAX_ITEMS = 8;
const TERMINAL_CHARS = 4_096;
/** All cards show what is new at once, so often: of the frames between, none has anything to lay out or to paint. */
const UPDATE_MS = 200;

const waiting = new Set<() => void>();
let timer: ReturnType<typeof setTimeout> | undefined;
function showSoon(show: () => void): void {
  waiting.add(show);
  timer ??= setTimeout(() => {
    timer = undefined;
    const due = [...waiting];
    waiting.clear();
    batch(() => due.forEach((each) => each()));
  }, UPDATE_MS);
}

function lastLine(text: string): string {
  const line = text.trimEnd().slice(-2_000).split("\n").at(-1) ?? "";
  return line.length <= SHOWN ? line : `… ${line.slice(-SHOWN)}`;
}

function lineOf(item: Item | undefined): Pick<CardLine, "text" | "tone"> | null {
  if (!item) return null;
  if (item.kind === "message" || item.kind === "thinking" || item.kind === "terminal") return { text: lastLine(item.text), tone: "plain" };
  if (item.kind === "tool") return { text: `${item.tool}: ${item.summary ?? ""}`.slice(0, SHOWN), tone: item.state === "failed" ? "bad" : "plain" };
  if (item.kind === "permission") return { text: item.request.summary.slice(0, SHOWN), tone: item.status === "pending" ? "warn" : "plain" };
  if (item.kind === "error") return { text: item.message.slice(0, SHOWN), tone: "bad" };
  if (item.kind === "note") return { text: item.text.slice(0, SHOWN), tone: item.tone === "bad" ? "bad" : "plain" };
  if (item.kind === "file") return { text: `${item.change} ${item.path}`, tone: "plain" };
  return null;
}

export interface CardFeed {
  readonly line: Signal<CardLine | null>;
  close(): void;
}

/** Follows one session from its last few events on. */
export function followCard(id: string): CardFeed {
  const line = signal<CardLine | null>(null);
  const begun = () => new Transcript({ whole: false, terminalChars: TERMINAL_CHARS });
  let transcript = begun();
  function show(): void {
    const last = lineOf(transcript.items.findLast((item) => item.kind !== "task"));
    line.value = { text: last?.text ?? line.value?.text ?? "", tone: last?.tone ?? line.value?.tone ?? "plain", now: { ...transcript.now } };
    if (transcript.items.length > MAX_ITEMS) {
      const { now } = transcript;
      transcript = begun();
      Object.assign(transcript.now, now);
    }
  }
  const live: Live = client.sessions.live(id, { tail: 12, types: TYPES }, {
    onEvents(events) {
      transcript.append(events);
      showSoon(show);
    },
  });
  return {
    line,
    close() {
      waiting.delete(show);
      live.close();
    },
  };
}
