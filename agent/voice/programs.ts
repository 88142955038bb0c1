/** Owns the engines that are programs: whisper.cpp's and faster-whisper's command lines, run in a private directory and killed when their time is up. */

import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import type { Engine, Recording } from "./engine.ts";

const MAX_STDERR_CHARS = 4_000;
const MAX_OUTPUT_BYTES = 8 * 1024 * 1024;

const cppJson = z.object({ result: z.object({ language: z.string() }).optional(), transcription: z.array(z.object({ text: z.string() })) });
const fasterJson = z.object({ text: z.string(), language: z.string().nullish() });

/** `whisper-cli -m MODEL -f FILE.wav -l LANGUAGE -otxt -oj -of OUT -nt -np`; it takes WAV of 16 kHz. */
export function whisperCpp({ binary, model }: { binary: string; model: string }): Engine {
  return {
    name: "whisper.cpp",
    detail: `${binary} with ${model}`,
    accepts: ["audio/wav"],
    async transcribe({ path, directory, language, signal }) {
      const out = join(directory, "out");
      await run(binary, ["-m", model, "-f", path, "-l", primary(language) ?? "auto", "-otxt", "-oj", "-of", out, "-nt", "-np"], { directory, signal });
      const told = cppJson.safeParse(await jsonOf(`${out}.json`));
      if (told.success) return { text: told.data.transcription.map(({ text }) => text).join(""), language: told.data.result?.language ?? language };
      // Builds without JSON write the text alone.
      return { text: await textOf(`${out}.txt`, binary), language };
    },
  };
}

/** `whisper-ctranslate2 FILE --model MODEL --output_dir DIR --output_format json [--language LANGUAGE]`, as OpenAI's own `whisper` understands it too. */
export function fasterWhisper({ binary, model }: { binary: string; model: string }): Engine {
  return {
    name: "faster-whisper",
    detail: `${binary} with the model ${model}`,
    accepts: ["audio/wav", "audio/webm", "audio/ogg"],
    async transcribe({ path, directory, language, signal }) {
      const spoken = primary(language);
      // A directory of a model is given by another option than a name.
      const which = model.startsWith("/") ? ["--model_directory", model] : ["--model", model];
      await run(binary, [path, ...which, "--output_dir", directory, "--output_format", "json", ...(spoken ? ["--language", spoken] : [])], { directory, signal });
      const told = fasterJson.safeParse(await jsonOf(path.replace(/\.[^./]+$/, ".json")));
      if (!told.success) throw new Error(`${binary} ended without a transcript that can be read`);
      return { text: told.data.text, language: told.data.language ?? language };
    },
  };
}

const primary = (language: string | null) => language?.split("-")[0];

/** Runs a program to its end; it gets nothing of the daemon's environment but where programs and its own models are. */
async function run(binary: string, args: readonly string[], { directory, signal }: Pick<Recording, "directory" | "signal">): Promise<void> {
  const env = Object.fromEntries(["PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "HF_HOME", "XDG_CACHE_HOME", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"].flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
  // A process group of its own, so that whatever it starts is killed with it.
  const child = spawn(binary, args, { cwd: directory, env, stdio: ["ignore", "ignore", "pipe"], detached: true });
  const kill = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has ended already.
    }
  };
  signal.addEventListener("abort", kill, { once: true });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-MAX_STDERR_CHARS);
  });
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
      if (signal.aborted) kill();
    });
    signal.throwIfAborted();
    if (code !== 0) throw new Error(`${binary} ended with ${code === null ? "a signal" : `code ${code}`}${said.trim() === "" ? "" : `: ${said.trim().split("\n").slice(-3).join(" ").slice(0, 500)}`}`);
  } finally {
    signal.removeEventListener("abort", kill);
    // What it left running goes too.
    kill();
  }
}

async function textOf(path: string, binary: string): Promise<string> {
  const bytes = await readFile(path).catch(() => null);
  if (bytes === null) throw new Error(`${binary} ended without a transcript`);
  if (bytes.length > MAX_OUTPUT_BYTES) throw new Error(`${binary} wrote ${bytes.length} bytes`);
  return bytes.toString("utf8");
}

async function jsonOf(path: string): Promise<unknown> {
  const bytes = await readFile(path).catch(() => null);
  if (bytes === null || bytes.length > MAX_OUTPUT_BYTES) return null;
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return null;
  }
}
