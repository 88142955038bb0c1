/** Owns speech that is turned into text on a user's own host: what engines a host can have, and the pieces in which a recording travels there. */

import * as z from "zod";
import { idOf } from "./ids.ts";

/** Largest recording, in bytes; and how long it may be, where that can be told. */
export const MAX_AUDIO_BYTES = 10 * 1024 * 1024;
export const MAX_AUDIO_SECONDS = 120;
/** Bytes of one piece on the way to the host. */
export const AUDIO_PIECE_BYTES = 1024 * 1024;
/** Longest text of one recording. */
const MAX_TRANSCRIPT_CHARS = 65_536;

export const audioType = z.enum(["audio/wav", "audio/webm", "audio/ogg"]);
export type AudioType = z.infer<typeof audioType>;
export const voiceEngine = z.enum(["whisper.cpp", "faster-whisper", "openai"]);
export type VoiceEngine = z.infer<typeof voiceEngine>;
/** `de`, `en-GB`; absent: the engine finds out. */
export const spokenLanguage = z.string().regex(/^[a-z]{2,3}(-[A-Za-z]{2,4})?$/, "expected a language like en or de");

/** What a host says of its engine. */
export const hostVoice = z.object({
  engine: voiceEngine,
  /** What it is, in words. */
  detail: z.string().max(500),
  language: spokenLanguage.nullable(),
  accepts: z.array(audioType).min(1),
  auto_send: z.boolean(),
  silence_threshold_ms: z.number().int(),
});
export type HostVoice = z.infer<typeof hostVoice>;

/** A piece of a recording; the daemon begins when it has all. A piece without bytes asks how far it is, and waits some seconds for the answer. */
export const audioPiece = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{32}$/),
  media_type: audioType,
  language: spokenLanguage.nullable(),
  total: z.number().int().min(1).max(MAX_AUDIO_BYTES),
  offset: z.number().int().min(0).max(MAX_AUDIO_BYTES),
  base64: z.string().max(Math.ceil(AUDIO_PIECE_BYTES / 3) * 4),
});
export type AudioPiece = z.infer<typeof audioPiece>;

export const transcript = z.object({
  text: z.string().max(MAX_TRANSCRIPT_CHARS),
  /** What was spoken, where the engine says so. */
  language: z.string().max(40).nullable(),
  /** How long the engine took, milliseconds. */
  duration_ms: z.number().int(),
});
export type Transcript = z.infer<typeof transcript>;

export const transcribeAnswer = z.discriminatedUnion("state", [
  z.object({ state: z.literal("more") }),
  z.object({ state: z.literal("working") }),
  transcript.extend({ state: z.literal("done") }),
  z.object({ state: z.literal("failed"), code: z.enum(["bad_request", "unavailable", "rate_limited", "conflict"]), message: z.string().max(2_000), hint: z.string().max(1_000).optional() }),
]);
export type TranscribeAnswer = z.infer<typeof transcribeAnswer>;

/** Whether somebody's speech can be turned into text now, and what to do where it cannot. */
export const voiceStatus = z.object({
  available: z.boolean(),
  engine: voiceEngine.nullable(),
  language: z.string().nullable(),
  host: z.object({ id: idOf("host"), name: z.string() }).nullable(),
  /** What the engine is, or how to get one. */
  hint: z.string(),
  /** Defaults of the host's owner for the dashboard. */
  auto_send: z.boolean(),
  silence_threshold_ms: z.number().int(),
});
export type VoiceStatus = z.infer<typeof voiceStatus>;

/** What kind of recording the bytes are, by the marks that each begins with. */
export function audioTypeOf(bytes: Uint8Array): AudioType | null {
  const head = String.fromCharCode(...bytes.subarray(0, 12));
  if (head.startsWith("RIFF") && head.slice(8) === "WAVE") return "audio/wav";
  if (head.startsWith("\x1a\x45\xdf\xa3")) return "audio/webm";
  return head.startsWith("OggS") ? "audio/ogg" : null;
}

/** Seconds of a WAV recording, from its own header; null where it is not to be read. */
export function wavSeconds(bytes: Uint8Array): number | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let rate = 0;
  for (let at = 12; at + 8 <= bytes.byteLength; ) {
    const name = String.fromCharCode(...bytes.subarray(at, at + 4));
    const size = view.getUint32(at + 4, true);
    if (name === "fmt " && at + 20 <= bytes.byteLength) rate = view.getUint32(at + 16, true);
    // A header may say more than there is.
    if (name === "data") return rate > 0 ? Math.min(size, bytes.byteLength - at - 8) / rate : null;
    at += 8 + size + (size % 2);
  }
  return null;
}
