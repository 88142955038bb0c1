/** Owns the schema of `voice` in `marionette.yaml`: which engine turns speech into text on this host, and that nothing leaves it unless that is said. */

import { isAbsolute } from "node:path";
import * as z from "zod";
import { spokenLanguage } from "../../sdk/protocol/voice.ts";

/** Whether a URL leads to this machine. */
export function isLoopback(url: string): boolean {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, "");
  return host === "localhost" || host === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

export const voice = z
  .strictObject({
    /** `auto`: a `url` if there is one, else whisper.cpp with a model, else faster-whisper. `none`: no voice here. */
    engine: z.enum(["auto", "whisper.cpp", "faster-whisper", "openai", "none"], { error: "expected auto, whisper.cpp, faster-whisper, openai or none" }).default("auto"),
    /** Of whisper.cpp (`whisper-cli`) or faster-whisper (`whisper-ctranslate2`); looked up on PATH where it holds no slash. */
    binary: z.string().min(1).max(4_096).optional(),
    /** whisper.cpp: the model's file. faster-whisper: a name such as `small`, or a directory. openai: the model's name. */
    model: z.string().min(1).max(4_096).optional(),
    /** What is spoken, such as `en`; absent: the engine finds out. */
    language: spokenLanguage.optional(),
    /** Base of an OpenAI-compatible API, up to and with `/v1`. */
    url: z.url({ protocol: /^https?$/, error: "expected a URL like http://127.0.0.1:8000/v1" }).optional(),
    /** Environment variable of the daemon that holds the API's key. */
    api_key_env: z.string().regex(/^[A-Z_][A-Z0-9_]*$/i, "expected the name of an environment variable").optional(),
    /** Speech may be sent to another machine than this one. */
    allow_remote: z.boolean().default(false),
    /** Whether what was said is sent at once; each person can choose otherwise. */
    auto_send: z.boolean().default(false),
    /** Recording ends after so much silence, milliseconds; 0: only when the button is let go. */
    silence_threshold_ms: z.number().int().min(0).max(30_000, "expected at most 30000").default(0),
  })
  .refine(({ engine, url }) => engine !== "openai" || url !== undefined, { path: ["url"], message: "the openai engine needs the URL of its API" })
  .refine(({ engine, url }) => url === undefined || engine === "openai" || engine === "auto", { path: ["url"], message: "only the openai engine has a URL" })
  .refine(({ api_key_env, url }) => api_key_env === undefined || url !== undefined, { path: ["api_key_env"], message: "there is no URL that it would be sent to" })
  .refine(({ url, allow_remote }) => url === undefined || allow_remote || isLoopback(url), { path: ["url"], message: "this is another machine: what people say would leave this one. If that is wanted, say allow_remote: true" })
  .refine(({ engine, model }) => engine !== "whisper.cpp" || model === undefined || isAbsolute(model), { path: ["model"], message: "expected the absolute path of a model's file" });
export type VoiceConfig = z.infer<typeof voice>;
