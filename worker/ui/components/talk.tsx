/** Owns the button that is held to talk: while it is, the microphone records; let go, what was said comes as text. */

import { useEffect, useRef, useState } from "preact/hooks";
import { client } from "../client.ts";
import type { Recording } from "../store/recorder.ts";
import { lookForVoice, voiceStatus, voiceWanted } from "../store/voice.ts";
import { Icon } from "./icon.tsx";
import { notify, wordsOf } from "./notices.tsx";

type State = "idle" | "opening" | "recording" | "hearing";
const NAMES: Readonly<Record<State, string>> = { idle: "Hold to talk", opening: "Opening the microphone", recording: "Listening; let go to stop", hearing: "Turning speech into text" };

/** `onText`: what was said, and whether it is to be sent at once. */
export function Talk({ onText }: { onText: (text: string, send: boolean) => void }) {
  const [state, set] = useState<State>("idle");
  const [level, setLevel] = useState(0);
  const at = useRef<State>("idle");
  const recording = useRef<Recording | null>(null);
  /** Let go before the microphone was open. */
  const gone = useRef(false);
  /** What was said goes into the box as it is by then. */
  const latest = useRef(onText);
  latest.current = onText;
  const to = (next: State) => set((at.current = next));
  useEffect(() => {
    lookForVoice().catch(() => {});
    return () => {
      gone.current = true;
      recording.current?.cancel();
    };
  }, []);
  const status = voiceStatus.value;
  const able = status?.available === true && typeof navigator.mediaDevices?.getUserMedia === "function";

  async function begin(): Promise<void> {
    if (at.current !== "idle") return;
    to("opening");
    gone.current = false;
    if (!able) {
      // It may have been installed since, or the page has not heard of it yet.
      const now = await lookForVoice().catch(() => null);
      const trouble = !now ? "Voice: the server cannot be asked now" : !now.available ? `Voice: ${now.hint}` : typeof navigator.mediaDevices?.getUserMedia !== "function" ? "Voice needs a page that is served by https, or from this machine" : null;
      if (trouble !== null || gone.current) {
        to("idle");
        return notify(trouble ?? "Voice is ready: hold the button and speak", trouble === null ? "done" : "failed");
      }
    }
    try {
      const { record } = await import("../store/recorder.ts");
      recording.current = await record({ silenceMs: voiceWanted.value.silence_threshold_ms, onLevel: setLevel, onOver: () => void end() });
      to("recording");
      if (gone.current) await end();
    } catch (error) {
      recording.current = null;
      to("idle");
      notify(error instanceof DOMException && error.name === "NotAllowedError" ? "The browser does not let this page use the microphone" : `The microphone cannot be used: ${wordsOf(error)}`, "failed");
    }
  }
  async function end(): Promise<void> {
    gone.current = true;
    if (at.current !== "recording" || !recording.current) return;
    const taken = recording.current;
    recording.current = null;
    to("hearing");
    setLevel(0);
    try {
      const audio = await taken.stop();
      if (audio === null) return notify("Hold the button while you speak");
      const { text } = await client.voice.transcribe({ audio, media_type: "audio/wav" });
      if (text === "") notify("Nothing was understood");
      else latest.current(text, voiceWanted.value.auto_send);
    } catch (error) {
      notify(`Speech was not turned into text: ${wordsOf(error)}`, "failed");
    } finally {
      to("idle");
    }
  }
  function cancel(): void {
    gone.current = true;
    if (at.current !== "recording") return;
    recording.current?.cancel();
    recording.current = null;
    setLevel(0);
    to("idle");
  }
  const isKey = (event: KeyboardEvent) => event.key === " " || event.key === "Enter";
  const name = able || status === null ? NAMES[state] : "Voice: no engine; how to get one";
  return (
    <button
      type="button" class={`quiet talk ${state}`} aria-label={name} aria-pressed={state === "recording"} aria-busy={state === "hearing"} title={able ? `${name} (${status.hint})` : (status?.hint ?? name)}
      onPointerDown={(event) => { if (event.button !== 0) return; event.currentTarget.setPointerCapture(event.pointerId); void begin(); }}
      onPointerUp={() => void end()} onPointerCancel={cancel} onContextMenu={(event) => event.preventDefault()} onBlur={() => void end()}
      onKeyDown={(event) => { if (event.key === "Escape") cancel(); else if (isKey(event)) { event.preventDefault(); if (!event.repeat) void begin(); } }}
      onKeyUp={(event) => { if (isKey(event)) { event.preventDefault(); void end(); } }}
    >
      {state === "hearing" || state === "opening" ? <i class="spinner" aria-hidden="true" /> : <Icon name="mic" size={18} />}
      {state === "recording" && <meter class="talk-level" min={0} max={0.3} value={Math.min(0.3, level)} aria-hidden="true" />}
    </button>
  );
}
