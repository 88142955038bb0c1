/** Owns the engine behind an OpenAI-compatible API: `POST {url}/audio/transcriptions`, on this machine unless the configuration allows another. */

import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import * as z from "zod";
import { Secret } from "../../sdk/protocol/secret.ts";
import { isLoopback, type VoiceConfig } from "../config/voice.ts";
import type { Engine } from "./engine.ts";

const DEFAULT_MODEL = "whisper-1";
const MAX_ANSWER_CHARS = 4 * 1024 * 1024;
const answer = z.object({ text: z.string(), language: z.string().max(40).nullish() });

export function openaiEngine({ url, model = DEFAULT_MODEL, api_key_env }: VoiceConfig & { url: string }, env: NodeJS.ProcessEnv): Engine {
  const target = `${url.replace(/\/+$/, "")}/audio/transcriptions`;
  const key = api_key_env === undefined ? null : new Secret(env[api_key_env] ?? "");
  const { host } = new URL(url);
  return {
    name: "openai",
    detail: `${model} at ${host}${isLoopback(url) ? "" : ", which is another machine"}`,
    accepts: ["audio/wav", "audio/webm", "audio/ogg"],
    async transcribe({ path, media_type, language, signal }) {
      if (key?.reveal() === "") throw new Error(`the environment variable ${api_key_env} of the daemon is not set`);
      const form = new FormData();
      form.set("file", new Blob([await readFile(path)], { type: media_type }), basename(path));
      form.set("model", model);
      form.set("response_format", "json");
      if (language !== null) form.set("language", language.split("-")[0] ?? language);
      // A redirect could lead the recording elsewhere.
      const response = await fetch(target, { method: "POST", body: form, signal, redirect: "error", headers: key ? { authorization: `Bearer ${key.reveal()}` } : {} }).catch((error: unknown) => {
        signal.throwIfAborted();
        throw new Error(`${host} cannot be reached: ${reasonOf(error)}`);
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${host} answered ${response.status}: ${text.slice(0, 300)}`);
      const told = answer.safeParse(text.length > MAX_ANSWER_CHARS ? null : parsed(text));
      if (!told.success) throw new Error(`${host} answered with something that is no transcript`);
      return { text: told.data.text, language: told.data.language ?? language };
    },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}
