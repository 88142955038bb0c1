/** Owns the routes of speech: whether a host of the tenant can turn it into text, and having it do so. The recording is kept nowhere. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { hostStub, tenantStub, type Actor } from "../../durable-objects/index.ts";
import {
  AUDIO_PIECE_BYTES, audioType, audioTypeOf, Failure, MAX_AUDIO_BYTES, MAX_AUDIO_SECONDS, spokenLanguage, transcript, voiceStatus, wavSeconds,
  type AudioType, type Host, type Transcript, type TranscribeAnswer, type VoiceStatus,
} from "../../sdk/protocol/index.ts";
import { call, reach } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { authenticated, needs, type KeyCache } from "../middleware/auth.ts";
import { readCapped } from "../middleware/request.ts";
import { answers, failures, named } from "../openapi.ts";

/** Hosts that are looked at for an engine. */
const MAX_HOSTS = 50;
/** Longest that a host is asked how far it is. */
const PATIENCE_MS = 230_000;
const HOW_TO_GET = "No host that is online has an engine. Install whisper.cpp (whisper-cli and a model) or faster-whisper (pipx install whisper-ctranslate2) on one, or name an OpenAI-compatible server under voice.url in its marionette.yaml";

type Voiced = Host & { voice: NonNullable<Host["voice"]> };

/** Hosts that are online and have an engine; those that drain come last. */
async function voicedHosts(c: Ctx, actor: Actor): Promise<Voiced[]> {
  const { items } = await c.get("records").lists.hosts(actor.tenant_id, { limit: MAX_HOSTS });
  // The list may be behind: the host's object knows.
  const hosts = await Promise.all(items.filter(({ status }) => status !== "offline").map((host) => call(() => hostStub(c.env, host.id).read(actor)).catch(() => null)));
  const voiced = hosts.filter((host): host is Voiced => host !== null && host.status !== "offline" && host.voice !== undefined);
  return voiced.sort((a, b) => Number(a.status === "draining") - Number(b.status === "draining"));
}

async function statusOf(c: Ctx, actor: Actor): Promise<VoiceStatus> {
  const [host] = await voicedHosts(c, actor);
  if (!host) return { available: false, engine: null, language: null, host: null, hint: HOW_TO_GET, auto_send: false, silence_threshold_ms: 0 };
  const { engine, detail, language, auto_send, silence_threshold_ms } = host.voice;
  return { available: true, engine, language, host: { id: host.id, name: host.name }, hint: `${engine} on ${host.name}: ${detail}`, auto_send, silence_threshold_ms };
}

const bad = (field: string, why: string) => new Failure("bad_request", `${field}: ${why}`, { details: { [field]: why } });

async function recordingOf(c: Ctx): Promise<{ bytes: Uint8Array<ArrayBuffer>; media_type: AudioType }> {
  const { raw } = c.req;
  const bytes = raw.body === null ? new Uint8Array() : await readCapped(raw.body, Number(raw.headers.get("content-length") ?? 0), MAX_AUDIO_BYTES);
  const said = audioType.safeParse((raw.headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase());
  if (!said.success) throw bad("content-type", `must be one of ${audioType.options.join(", ")}`);
  if (bytes.byteLength === 0) throw bad("body", "empty");
  if (audioTypeOf(bytes) !== said.data) throw bad("body", `these bytes are not ${said.data}`);
  if (said.data === "audio/wav") {
    const seconds = wavSeconds(bytes);
    if (seconds === null) throw bad("body", "not a WAV recording that can be read");
    if (seconds > MAX_AUDIO_SECONDS) throw bad("body", `${Math.round(seconds)} seconds; a recording may have ${MAX_AUDIO_SECONDS}`);
  }
  return { bytes, media_type: said.data };
}

/** As every route that makes a host work: one of the key's tasks of this minute. */
async function admitted(c: Ctx, { tenant_id, key_id }: Actor): Promise<void> {
  const admission = await reach(() => tenantStub(c.env, tenant_id).admit(key_id, "tasks"));
  if (!admission.admitted) throw new Failure("rate_limited", `This key may create ${admission.limit} tasks a minute, recordings among them`, { details: { limit: admission.limit, retry_after_seconds: Math.max(1, Math.ceil(admission.retry_after_seconds)) } });
}

const base64Of = (bytes: Uint8Array): string => {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 32_768) binary += String.fromCharCode(...bytes.subarray(at, at + 32_768));
  return btoa(binary);
};

/** Sends the recording to a host, piece by piece, and waits for what it heard. */
async function transcribeOn(c: Ctx, actor: Actor, host: Voiced, { bytes, media_type }: { bytes: Uint8Array; media_type: AudioType }, language: string | null): Promise<TranscribeAnswer> {
  const id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const send = (offset: number, base64: string) => call(() => hostStub(c.env, host.id).transcribe(actor, { id, media_type, language, total: bytes.length, offset, base64 }));
  for (let offset = 0; offset < bytes.length; offset += AUDIO_PIECE_BYTES) {
    const answer = await send(offset, base64Of(bytes.subarray(offset, offset + AUDIO_PIECE_BYTES)));
    if (answer.state === "failed") return answer;
  }
  const until = Date.now() + PATIENCE_MS;
  while (Date.now() < until) {
    c.req.raw.signal.throwIfAborted();
    const answer = await send(bytes.length, "");
    if (answer.state !== "working") return answer;
  }
  return { state: "failed", code: "unavailable", message: `${host.name} did not answer in time` };
}

/** Mount before the API: its own middleware takes JSON alone. */
export function voiceRoutes(app: App, cache: KeyCache): void {
  const tags = ["voice"];
  const status = createRoute({
    method: "get", path: "/api/v1/voice/status", tags, security: [{ api_key: ["read"] }], middleware: [authenticated(cache), needs("read")], summary: "Ask whether speech can be turned into text",
    responses: { 200: answers(named("VoiceStatus", voiceStatus), "The engine, or how to get one"), ...failures() },
  });
  const audio = Object.fromEntries(audioType.options.map((type) => [type, { schema: z.string() }])) as Record<AudioType, { schema: z.ZodString }>;
  const transcribe = createRoute({
    method: "post", path: "/api/v1/voice/transcribe", tags, security: [{ api_key: ["write"] }], middleware: [authenticated(cache), needs("write")], summary: "Turn speech into text",
    description: `The body is the recording, at most ${MAX_AUDIO_BYTES} bytes and ${MAX_AUDIO_SECONDS} seconds. An engine on one of the tenant's own hosts listens to it; nothing of it is kept, and it goes nowhere else unless that host's owner says so.`,
    request: { query: z.strictObject({ language: spokenLanguage.optional() }), body: { required: true as const, content: audio } },
    responses: { 200: answers(named("Transcript", transcript), "What was said"), ...failures("conflict", "payload_too_large", "rate_limited") },
  });
  app.openapi(status, async (c) => c.json(await statusOf(c, actorOf(c)), 200));
  app.openapi(transcribe, async (c) => {
    const actor = actorOf(c);
    const { language = null } = c.req.valid("query");
    const recording = await recordingOf(c);
    await admitted(c, actor);
    const hosts = await voicedHosts(c, actor);
    const able = hosts.filter(({ voice }) => voice.accepts.includes(recording.media_type));
    if (hosts.length === 0) throw new Failure("conflict", "No host that is online can turn speech into text", { hint: HOW_TO_GET });
    if (able.length === 0) throw bad("content-type", `the engines of your hosts take ${[...new Set(hosts.flatMap(({ voice }) => voice.accepts))].join(", ")}`);
    let last: TranscribeAnswer | null = null;
    for (const host of able) {
      last = await transcribeOn(c, actor, host, recording, language).catch((error: unknown): TranscribeAnswer => {
        if (error instanceof Failure && error.code === "unavailable") return { state: "failed", code: "unavailable", message: error.message, ...(error.hint !== undefined && { hint: error.hint }) };
        throw error;
      });
      // Another host may have time, or still be there.
      if (last.state !== "failed" || (last.code !== "rate_limited" && last.code !== "unavailable")) break;
    }
    if (last?.state === "done") {
      const { text, language: spoken, duration_ms } = last;
      return c.json({ text, language: spoken, duration_ms } satisfies Transcript, 200);
    }
    if (last?.state === "failed") throw new Failure(last.code, last.message, { ...(last.hint !== undefined && { hint: last.hint }), ...(last.code === "rate_limited" && { details: { retry_after_seconds: 5 } }) });
    throw new Failure("unavailable", "The host lost the recording; send it again");
  });
}
