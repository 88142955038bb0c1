/** Owns the settings of voice: which engine listens and where, how to get one, and what this browser does with what was said. */

import { useEffect, useState } from "preact/hooks";
import { Fault, Waiting } from "../../components/panel.tsx";
import { Talk } from "../../components/talk.tsx";
import { lookForVoice, voiceChoice, voiceStatus, voiceWanted } from "../../store/voice.ts";

const SILENCES = [
  { ms: 0, name: "Only when the button is let go" },
  { ms: 800, name: "0.8 seconds" },
  { ms: 1_500, name: "1.5 seconds" },
  { ms: 3_000, name: "3 seconds" },
] as const;

const EXAMPLE = `voice:
  engine: whisper.cpp          # auto, whisper.cpp, faster-whisper, openai or none
  model: /srv/models/ggml-base.bin
  language: en
# or a server of your own that speaks OpenAI's API:
# voice:
#   url: http://127.0.0.1:8000/v1`;

export function Voice() {
  const [error, setError] = useState<unknown>(null);
  const [heard, setHeard] = useState<string | null>(null);
  const look = () => lookForVoice().then(() => setError(null), setError);
  useEffect(() => void look(), []);
  const status = voiceStatus.value;
  const wanted = voiceWanted.value;
  const choose = (change: Partial<typeof voiceChoice.value>) => (voiceChoice.value = { ...voiceChoice.value, ...change });
  const silences = SILENCES.some(({ ms }) => ms === wanted.silence_threshold_ms) ? SILENCES : [...SILENCES, { ms: wanted.silence_threshold_ms, name: `${wanted.silence_threshold_ms / 1_000} seconds` }];
  if (error !== null) return <Fault error={error} />;
  if (status === null) return <Waiting what="Looking for an engine" />;
  return (
    <section class="stack" aria-labelledby="voice-title">
      <div class="card settings-form">
        <h2 id="voice-title">Voice</h2>
        <p class="soft">Hold the microphone in a session's prompt box and speak: an engine on one of your own hosts turns it into text. The recording is kept nowhere.</p>
        <p class="row"><span class={`badge ${status.available ? "good" : "warn"}`}>{status.available ? "Ready" : "No engine"}</span><span>{status.hint}</span><button type="button" class="quiet" onClick={() => void look()}>Look again</button></p>
        {status.available
          ? <p class="row"><Talk onText={(text) => setHeard(text)} /><span>{heard === null ? "Hold to try it" : <q>{heard}</q>}</span></p>
          : <><p>In the host's <code>marionette.yaml</code>:</p><pre class="sunken">{EXAMPLE}</pre></>}
      </div>
      <div class="card settings-form">
        <h2>In this browser</h2>
        <label class="row"><input type="checkbox" checked={wanted.auto_send} onChange={(event) => choose({ auto_send: event.currentTarget.checked })} /> Send what was said at once</label>
        <label>Stop by itself after silence of
          <select value={String(wanted.silence_threshold_ms)} onChange={(event) => choose({ silence_threshold_ms: Number(event.currentTarget.value) })}>
            {silences.map(({ ms, name }) => <option key={ms} value={String(ms)}>{name}</option>)}
          </select>
        </label>
      </div>
    </section>
  );
}
