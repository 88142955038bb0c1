/** Owns the microphone: a recording from its beginning to a WAV file, how loud it is meanwhile, and when it ends by itself. */

import { loudness, RATE, Silence, wavOf } from "./wav.ts";

/** As long as the server takes. */
const MAX_MS = 119_000;
/** Shorter is no word. */
const LEAST_MS = 250;
const LOOK_MS = 50;

export interface Recording {
  /** Ends it; null where it was too short to hold a word. */
  stop(): Promise<Uint8Array<ArrayBuffer> | null>;
  cancel(): void;
}

/** Begins to record. Throws where the browser may not, in its own words. `onOver`: silence, or the longest time. */
export async function record({ silenceMs, onLevel, onOver }: { silenceMs: number; onLevel: (level: number) => void; onOver: () => void }): Promise<Recording> {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true } });
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 1_024;
  context.createMediaStreamSource(stream).connect(analyser);
  const recorder = new MediaRecorder(stream);
  const parts: Blob[] = [];
  recorder.addEventListener("dataavailable", ({ data }) => data.size > 0 && parts.push(data));
  const ended = new Promise<void>((resolve) => recorder.addEventListener("stop", () => resolve(), { once: true }));
  const began = performance.now();
  const silence = new Silence(silenceMs);
  const samples = new Float32Array(analyser.fftSize);
  recorder.start();
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const level = loudness(samples);
    onLevel(level);
    const now = performance.now();
    if (silence.over(level, now) || now - began > MAX_MS) onOver();
  }, LOOK_MS);
  function close(): void {
    clearInterval(timer);
    if (recorder.state !== "inactive") recorder.stop();
    // The browser's sign that it listens goes out.
    for (const track of stream.getTracks()) track.stop();
    void context.close().catch(() => {});
  }
  return {
    async stop() {
      const lasted = performance.now() - began;
      close();
      await ended;
      return lasted < LEAST_MS || parts.length === 0 ? null : toWav(new Blob(parts, { type: recorder.mimeType }));
    },
    cancel: close,
  };
}

/** What the browser recorded, decoded and brought to 16 kHz by the browser itself, its channels mixed. */
async function toWav(recorded: Blob): Promise<Uint8Array<ArrayBuffer>> {
  const audio = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await recorded.arrayBuffer());
  const mixed = new Float32Array(audio.length);
  for (let channel = 0; channel < audio.numberOfChannels; channel++) audio.getChannelData(channel).forEach((sample, i) => (mixed[i] = (mixed[i] ?? 0) + sample / audio.numberOfChannels));
  return wavOf(mixed);
}
