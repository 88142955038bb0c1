/** Owns the short words that come and go: what was done, and what went wrong with it. */

import { signal } from "@preact/signals";
import { ConnectionError, TimeoutError } from "../../../sdk/index.ts";
import { Icon } from "./icon.tsx";

interface Notice {
  id: number;
  text: string;
  kind: "done" | "failed";
}
const notices = signal<readonly Notice[]>([]);
let next = 1;
const SHOWN_MS = { done: 4_000, failed: 10_000 };

const forget = (id: number) => (notices.value = notices.value.filter((each) => each.id !== id));
export function notify(text: string, kind: Notice["kind"] = "done"): void {
  const id = next++;
  notices.value = [...notices.value.slice(-3), { id, text, kind }];
  setTimeout(() => forget(id), SHOWN_MS[kind]);
}

/** The words for people in whatever was thrown. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof TimeoutError) return "the server did not answer in time";
  if (error instanceof ConnectionError) return "the server cannot be reached";
  const hint = "hint" in error && typeof error.hint === "string" ? `. ${error.hint}` : "";
  return error.message + hint;
}

/** Runs what a button stands for; says so where it fails, and what it was. Answers whether it went well. */
export async function attempt(what: string, work: () => Promise<unknown>, done?: string): Promise<boolean> {
  try {
    await work();
    if (done) notify(done);
    return true;
  } catch (error) {
    notify(`${what}: ${wordsOf(error)}`, "failed");
    return false;
  }
}

export function Notices() {
  return (
    <div class="notices" role="status" aria-live="polite">
      {notices.value.map(({ id, text, kind }) => (
        <p key={id} class={`notice ${kind}`}><Icon name={kind === "done" ? "check" : "warning"} /><span>{text}</span><button class="quiet" type="button" aria-label="Dismiss" onClick={() => forget(id)}><Icon name="close" size={16} /></button></p>
      ))}
    </div>
  );
}
