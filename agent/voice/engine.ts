/** Owns finding the engine that turns speech into text on this host: the one that the configuration names, or the first that is there. */

import { constants } from "node:fs";
import { access, readdir } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import type { AudioType, HostVoice, Transcript } from "../../sdk/protocol/voice.ts";
import type { VoiceConfig } from "../config/voice.ts";
import { openaiEngine } from "./openai.ts";
import { fasterWhisper, whisperCpp } from "./programs.ts";

/** A recording in a private directory of its own, which is removed afterwards. */
export interface Recording {
  path: string;
  directory: string;
  media_type: AudioType;
  language: string | null;
  signal: AbortSignal;
}
export interface Engine {
  readonly name: HostVoice["engine"];
  readonly detail: string;
  readonly accepts: readonly AudioType[];
  /** Throws in words. */
  transcribe(recording: Recording): Promise<Pick<Transcript, "text" | "language">>;
}

/** How to get one, for people whose hosts have none. */
export const HOW_TO_GET = "Install whisper.cpp (whisper-cli and a model such as ggml-base.bin) or faster-whisper (pipx install whisper-ctranslate2) on the host, or name an OpenAI-compatible server under voice.url in its marionette.yaml, and start the daemon again";

const CPP_NAMES = ["whisper-cli", "whisper-cpp"];
const FASTER_NAMES = ["whisper-ctranslate2"];
/** Where packages and people put whisper.cpp's models, below the home or the root. */
const MODEL_PLACES = [".cache/whisper.cpp", ".local/share/whisper.cpp", "whisper.cpp/models"];
const SHARED_PLACES = ["/usr/share/whisper.cpp/models", "/usr/local/share/whisper.cpp/models", "/opt/whisper.cpp/models"];

/** The engine, or why there is none. */
export async function findEngine(config: VoiceConfig, env: NodeJS.ProcessEnv): Promise<{ engine: Engine } | { engine: null; why: string }> {
  const { engine: wanted, url } = config;
  if (wanted === "none") return { engine: null, why: "voice is switched off in this host's marionette.yaml" };
  if (url !== undefined) return { engine: openaiEngine({ ...config, url }, env) };
  const missing: string[] = [];
  if (wanted === "auto" || wanted === "whisper.cpp") {
    const binary = await find(config.binary ?? CPP_NAMES, env);
    const model = binary && (await modelOf(config.model, env));
    if (binary && model) return { engine: whisperCpp({ binary, model }) };
    missing.push(binary ? "whisper.cpp has no model (voice.model)" : `whisper.cpp: no ${config.binary ?? CPP_NAMES[0]} on PATH`);
  }
  if (wanted === "faster-whisper" || (wanted === "auto" && config.binary === undefined)) {
    const binary = await find(config.binary ?? FASTER_NAMES, env);
    if (binary) return { engine: fasterWhisper({ binary, model: config.model ?? "small" }) };
    missing.push(`faster-whisper: no ${config.binary ?? FASTER_NAMES[0]} on PATH`);
  }
  return { engine: null, why: missing.join("; ") };
}

async function find(names: string | readonly string[], env: NodeJS.ProcessEnv): Promise<string | null> {
  for (const name of [names].flat()) {
    const places = name.includes("/") ? [name] : (env["PATH"] ?? "").split(delimiter).filter((dir) => isAbsolute(dir)).map((dir) => join(dir, name));
    for (const place of places) if (await access(place, constants.X_OK).then(() => true, () => false)) return place;
  }
  return null;
}

async function modelOf(given: string | undefined, env: NodeJS.ProcessEnv): Promise<string | null> {
  if (given !== undefined) return access(given, constants.R_OK).then(() => given, () => null);
  const home = env["HOME"];
  for (const place of [...(home ? MODEL_PLACES.map((path) => join(home, path)) : []), ...SHARED_PLACES]) {
    const [model] = (await readdir(place).catch(() => [])).filter((name) => /^ggml-.*\.bin$/.test(name)).sort();
    if (model) return join(place, model);
  }
  return null;
}
