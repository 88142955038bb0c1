/** Owns `client.voice`: speech that is turned into text on one of the tenant's own hosts. */

import type * as z from "zod";
import { transcript, voiceStatus, type AudioType, type Transcript, type VoiceStatus } from "../protocol/voice.ts";
import { ProtocolError } from "../core/errors.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource } from "../core/resource.ts";
import { api } from "../core/transport.ts";

/** An engine may take so long on a slow machine, milliseconds. */
const PATIENCE_MS = 240_000;

export interface TranscribeParams {
  /** At most 10 MiB and 120 seconds. */
  audio: Uint8Array<ArrayBuffer> | Blob;
  media_type: AudioType;
  /** What is spoken; absent: as the host's owner says, or as the engine finds out. */
  language?: string | undefined;
}

export class Voice extends Resource {
  status(options?: RequestOptions): Promise<VoiceStatus> {
    return this.transport.json("GET", api`/voice/status`, reads(voiceStatus), {}, options);
  }
  transcribe({ audio, media_type, language }: TranscribeParams, options?: RequestOptions): Promise<Transcript> {
    return this.transport.json("POST", api`/voice/transcribe`, reads(transcript), { query: { language }, bytes: { body: audio, type: media_type } }, { timeout_ms: PATIENCE_MS, ...options });
  }
}

function reads<T>(schema: z.ZodType<T>): (value: unknown) => T {
  return (value) => {
    const parsed = schema.safeParse(value);
    if (!parsed.success) throw new ProtocolError("Expected an answer about voice and got something else");
    return parsed.data;
  };
}
