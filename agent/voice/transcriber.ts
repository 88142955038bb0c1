/** Owns recordings on this host: gathered from their pieces, at most two turned into text at once, and nothing of them left afterwards. */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { audioPiece, audioTypeOf, type AudioPiece, type HostVoice, type TranscribeAnswer } from "../../sdk/protocol/voice.ts";
import type { VoiceConfig } from "../config/voice.ts";
import { findEngine, HOW_TO_GET, type Engine } from "./engine.ts";

const MAX_AT_ONCE = 2;
/** Recordings that are held at all: those that run, wait, or are still coming. */
const MAX_HELD = 6;
const MAX_TEXT_CHARS = 65_536;
const ENDINGS = { "audio/wav": "wav", "audio/webm": "webm", "audio/ogg": "ogg" } as const;

export interface TranscriberOptions {
  config: VoiceConfig;
  /** A directory of its own, for recordings while they are worked on. */
  directory: string;
  env: NodeJS.ProcessEnv;
  /** Longest that an engine may take, milliseconds. */
  limitMs?: number;
  /** How long a question waits for its answer. */
  waitMs?: number;
  /** A recording of which nothing more comes, or that nobody asks for, is forgotten after so long. */
  forgetMs?: number;
}

interface Held {
  parts: Buffer[];
  have: number;
  first: Pick<AudioPiece, "media_type" | "language" | "total">;
  answer: TranscribeAnswer | null;
  done: Promise<void> | null;
  timer: NodeJS.Timeout | undefined;
  abort: AbortController;
}

type Failed = Extract<TranscribeAnswer, { state: "failed" }>;
const failed = (code: Failed["code"], message: string, hint?: string): Failed => ({ state: "failed", code, message: message.slice(0, 2_000), ...(hint !== undefined && { hint }) });

export class Transcriber {
  readonly #options: Required<TranscriberOptions>;
  readonly #held = new Map<string, Held>();
  #engine: Engine | null = null;
  #running = 0;
  readonly #turns: (() => void)[] = [];

  constructor(options: TranscriberOptions) {
    this.#options = { limitMs: 180_000, waitMs: 7_000, forgetMs: 60_000, ...options };
  }

  /** Removes what an earlier life has left. */
  async start(): Promise<void> {
    await rm(this.#options.directory, { recursive: true, force: true });
  }

  /** What this host can do now; engines get installed while the daemon runs. Null where there is none. */
  async look(): Promise<HostVoice | null> {
    const { config, env } = this.#options;
    const { engine } = await findEngine(config, env);
    this.#engine = engine;
    if (!engine) return null;
    return { engine: engine.name, detail: engine.detail.slice(0, 500), accepts: [...engine.accepts], language: config.language ?? null, auto_send: config.auto_send, silence_threshold_ms: config.silence_threshold_ms };
  }

  /** See `Daemon.transcribe`. Never throws. */
  async transcribe(input: AudioPiece): Promise<TranscribeAnswer> {
    const parsed = audioPiece.safeParse(input);
    if (!parsed.success) return failed("bad_request", `the host cannot read the piece: ${parsed.error.issues[0]?.path.join(".") ?? ""}: ${parsed.error.issues[0]?.message ?? ""}`);
    const piece = parsed.data;
    if (piece.base64 === "") return this.#ask(piece.id);
    const bytes = Buffer.from(piece.base64, "base64");
    let held = this.#held.get(piece.id);
    if (!held) {
      const refusal = this.#refusal(piece);
      if (refusal) return refusal;
      held = { parts: [], have: 0, first: piece, answer: null, done: null, timer: undefined, abort: new AbortController() };
      this.#held.set(piece.id, held);
    }
    this.#remember(piece.id, held);
    // Sent again because its answer was lost.
    if (held.done !== null || piece.offset < held.have) return held.done ? { state: "working" } : { state: "more" };
    if (piece.offset !== held.have || piece.total !== held.first.total || held.have + bytes.length > held.first.total) return this.#drop(piece.id, failed("bad_request", "a piece of the recording is missing"));
    held.parts.push(bytes);
    held.have += bytes.length;
    if (held.have < held.first.total) return { state: "more" };
    held.done = this.#work(held);
    return { state: "working" };
  }

  /** Ends what runs. */
  async close(): Promise<void> {
    for (const [id, held] of this.#held) {
      held.abort.abort(new Error("the host's daemon ends"));
      this.#drop(id, null);
    }
    await rm(this.#options.directory, { recursive: true, force: true });
  }

  #refusal({ media_type }: AudioPiece): Failed | null {
    const engine = this.#engine;
    if (!engine) return failed("conflict", "this host has no engine that turns speech into text", HOW_TO_GET);
    if (!engine.accepts.includes(media_type)) return failed("bad_request", `content-type: ${engine.name} takes ${engine.accepts.join(", ")}, not ${media_type}`, "The dashboard turns recordings into WAV by itself");
    if (this.#held.size >= MAX_HELD) return failed("rate_limited", "this host has enough to listen to; try again in some seconds");
    return null;
  }

  async #ask(id: string): Promise<TranscribeAnswer> {
    const held = this.#held.get(id);
    if (!held) return failed("unavailable", "this host does not have the recording any more; send it again");
    if (held.done === null) return { state: "more" };
    this.#remember(id, held);
    await Promise.race([held.done, pause(this.#options.waitMs, undefined, { ref: false })]);
    if (held.answer === null) return { state: "working" };
    return this.#drop(id, held.answer);
  }

  #remember(id: string, held: Held): void {
    clearTimeout(held.timer);
    held.timer = setTimeout(() => {
      held.abort.abort(new Error("nobody waits for it any more"));
      this.#drop(id, null);
    }, this.#options.forgetMs + (held.done ? this.#options.waitMs : 0));
    held.timer.unref();
  }

  #drop<T extends TranscribeAnswer | null>(id: string, answer: T): T {
    clearTimeout(this.#held.get(id)?.timer);
    this.#held.delete(id);
    return answer;
  }

  async #work(held: Held): Promise<void> {
    if (this.#running >= MAX_AT_ONCE) await new Promise<void>((resolve) => this.#turns.push(resolve));
    this.#running++;
    try {
      held.answer = held.abort.signal.aborted ? failed("unavailable", "nobody waited for it any more") : await this.#transcribe(held);
    } finally {
      this.#running--;
      this.#turns.shift()?.();
    }
  }

  async #transcribe(held: Held): Promise<TranscribeAnswer> {
    const { directory: parent, limitMs, config } = this.#options;
    const engine = this.#engine;
    const { media_type, language } = held.first;
    const bytes = Buffer.concat(held.parts.splice(0));
    if (!engine) return failed("conflict", "this host has no engine any more", HOW_TO_GET);
    if (audioTypeOf(bytes) !== media_type) return failed("bad_request", `body: these bytes are not ${media_type}`);
    const began = performance.now();
    const late = AbortSignal.timeout(limitMs);
    let directory: string | null = null;
    try {
      await mkdir(parent, { recursive: true, mode: 0o700 });
      directory = await mkdtemp(join(parent, "recording-"));
      const path = join(directory, `audio.${ENDINGS[media_type]}`);
      await writeFile(path, bytes, { mode: 0o600 });
      const told = await engine.transcribe({ path, directory, media_type, language: language ?? config.language ?? null, signal: AbortSignal.any([late, held.abort.signal]) });
      const text = told.text.toWellFormed().replace(/\s+/g, " ").trim();
      return { state: "done", text: text.slice(0, MAX_TEXT_CHARS), language: told.language?.slice(0, 40) ?? null, duration_ms: Math.round(performance.now() - began) };
    } catch (error) {
      if (late.aborted) return failed("unavailable", `${engine.name} took longer than ${limitMs / 1_000} s and was ended`, "Use a smaller model, or speak for a shorter time");
      return failed("unavailable", `${engine.name} failed: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      if (directory !== null) await rm(directory, { recursive: true, force: true });
    }
  }
}
