import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { AUDIO_PIECE_BYTES, type AudioPiece, type TranscribeAnswer } from "../../sdk/protocol/voice.ts";
import { fakeWhisper, silence, startTranscriptionServer, type TranscriptionServer } from "../../test/support/transcription-server.ts";
import { voice } from "../config/voice.ts";
import { Transcriber, type TranscriberOptions } from "./transcriber.ts";

const root = mkdtempSync(join(tmpdir(), "voice-"));
let place = "";
let server: TranscriptionServer;
const open: Transcriber[] = [];
beforeEach(async () => {
  place = mkdtempSync(join(root, "host-"));
  mkdirSync(join(place, "bin"));
  writeFileSync(join(place, "ggml-test.bin"), "a model");
  server = await startTranscriptionServer();
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
  await server.close();
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

async function transcriber(config: Record<string, unknown> = {}, more: Partial<TranscriberOptions> = {}) {
  const made = new Transcriber({ config: voice.parse(config), directory: join(place, "voice"), env: { PATH: join(place, "bin"), HOME: place }, waitMs: 2_000, ...more });
  open.push(made);
  return { made, look: await made.look() };
}
const cpp = () => ({ engine: "whisper.cpp", model: join(place, "ggml-test.bin") });

/** Sends a recording in pieces and asks until it is answered. */
async function hear(made: Transcriber, bytes: Uint8Array = silence(1), { media_type = "audio/wav", language = null }: { media_type?: AudioPiece["media_type"]; language?: string | null } = {}): Promise<TranscribeAnswer> {
  const id = randomBytes(16).toString("hex");
  const piece = (offset: number, part: Uint8Array) => made.transcribe({ id, media_type, language, total: bytes.length, offset, base64: Buffer.from(part).toString("base64") });
  for (let offset = 0; offset < bytes.length; offset += AUDIO_PIECE_BYTES) {
    const answer = await piece(offset, bytes.subarray(offset, offset + AUDIO_PIECE_BYTES));
    if (answer.state === "failed") return answer;
  }
  for (;;) {
    const answer = await piece(bytes.length, new Uint8Array());
    if (answer.state !== "working") return answer;
  }
}

describe("whisper.cpp's command line", () => {
  it("hears a recording of several pieces, in the language that is spoken, and leaves nothing behind", async () => {
    fakeWhisper(join(place, "bin"));
    const { made, look } = await transcriber({ model: join(place, "ggml-test.bin"), silence_threshold_ms: 1_500 });
    expect(look).toMatchObject({ engine: "whisper.cpp", accepts: ["audio/wav"], language: null, silence_threshold_ms: 1_500 });
    expect(await hear(made, silence(70))).toMatchObject({ state: "done", text: "the fake whisper heard you", language: "en" });
    expect(await hear(made, silence(1), { language: "de-AT" })).toMatchObject({ state: "done", language: "de" });
    expect(readdirSync(join(place, "voice"))).toEqual([]);
  });

  it("also where it writes text alone, and finds models where people put them", async () => {
    fakeWhisper(join(place, "bin"), { json: false });
    mkdirSync(join(place, ".cache/whisper.cpp"), { recursive: true });
    writeFileSync(join(place, ".cache/whisper.cpp/ggml-base.bin"), "a model");
    const { made } = await transcriber({ language: "fr" });
    expect(await hear(made)).toMatchObject({ state: "done", text: "the fake whisper heard you", language: "fr" });
  });

  it("tells in its own words why it failed", async () => {
    fakeWhisper(join(place, "bin"), { code: 2 });
    const { made } = await transcriber(cpp());
    expect(await hear(made)).toMatchObject({ state: "failed", code: "unavailable", message: expect.stringContaining("cannot load the model") as unknown });
  });

  it("is killed when its time is up, and its recording removed", async () => {
    fakeWhisper(join(place, "bin"), { sleep: 600_000 });
    const { made } = await transcriber(cpp(), { limitMs: 400 });
    expect(await hear(made)).toMatchObject({ state: "failed", message: expect.stringContaining("took longer") as unknown });
    expect(readdirSync(join(place, "voice"))).toEqual([]);
  });

  it("takes WAV and no other kind", async () => {
    fakeWhisper(join(place, "bin"));
    const { made } = await transcriber(cpp());
    expect(await hear(made, Buffer.from("OggS and so on"), { media_type: "audio/ogg" })).toMatchObject({ state: "failed", code: "bad_request", message: expect.stringContaining("takes audio/wav") as unknown });
    expect(await hear(made, Buffer.from("OggS and so on"))).toMatchObject({ state: "failed", code: "bad_request" });
  });
});

describe("an OpenAI-compatible server", () => {
  it("gets the recording, the model, the language and the key, and nothing more", async () => {
    const { made, look } = await transcriber({ url: server.url, model: "base", api_key_env: "SPEECH_KEY" }, { env: { SPEECH_KEY: "sk-speech" } });
    expect(look).toMatchObject({ engine: "openai", accepts: ["audio/wav", "audio/webm", "audio/ogg"] });
    const recording = silence(2);
    expect(await hear(made, recording, { language: "en" })).toMatchObject({ state: "done", text: "hello from the microphone", language: "en" });
    expect(server.heard).toEqual([expect.objectContaining({ model: "base", language: "en", name: "audio.wav", file: recording })]);
    expect(server.heard[0]?.headers.authorization).toBe("Bearer sk-speech");
  });

  it.each([
    ["it fails", { status: 500 }, "answered 500"],
    ["it would lead elsewhere", { redirect: "http://127.0.0.1:1/" }, "cannot be reached"],
  ])("is told of where %s", async (_what, says, words) => {
    server.says = says;
    const { made } = await transcriber({ url: server.url });
    expect(await hear(made)).toMatchObject({ state: "failed", code: "unavailable", message: expect.stringContaining(words) as unknown });
  });

  it("hears two at once, holds some more, and refuses the rest", async () => {
    server.says = { after: 300, says: "slow" };
    const { made } = await transcriber({ url: server.url });
    const all = await Promise.all(Array.from({ length: 8 }, () => hear(made)));
    expect(all.filter(({ state }) => state === "done")).toHaveLength(6);
    expect(all.filter((answer) => answer.state === "failed" && answer.code === "rate_limited")).toHaveLength(2);
  });
});

describe("a host", () => {
  it("without an engine says so, and how to get one", async () => {
    const { made, look } = await transcriber();
    expect(look).toBeNull();
    expect(await hear(made)).toMatchObject({ state: "failed", code: "conflict", hint: expect.stringContaining("whisper.cpp") as unknown });
  });

  it("forgets a recording of which nothing more comes, and refuses pieces that do not fit", async () => {
    const { made } = await transcriber({ url: server.url }, { forgetMs: 50 });
    const piece = { id: "ab".repeat(16), media_type: "audio/wav", language: null, total: 100, offset: 0, base64: "AAAA" } as const;
    expect(await made.transcribe(piece)).toEqual({ state: "more" });
    expect(await made.transcribe(piece)).toEqual({ state: "more" });
    expect(await made.transcribe({ ...piece, offset: 50 })).toMatchObject({ state: "failed", code: "bad_request" });
    expect(await made.transcribe({ ...piece, id: "short" })).toMatchObject({ state: "failed", code: "bad_request" });
    expect(await made.transcribe(piece)).toEqual({ state: "more" });
    await expect.poll(async () => (await made.transcribe({ ...piece, offset: 100, base64: "" })).state).toBe("failed");
    expect(existsSync(join(place, "voice"))).toBe(false);
  });
});

describe("voice in marionette.yaml", () => {
  it.each([
    [{ engine: "siri" }, "engine"],
    [{ engine: "openai" }, "url"],
    [{ url: "https://api.openai.com/v1" }, "url"],
    [{ url: "http://127.0.0.1.example.org/v1" }, "url"],
    [{ url: "file:///etc/passwd" }, "url"],
    [{ engine: "whisper.cpp", model: "base" }, "model"],
    [{ engine: "whisper.cpp", url: "http://127.0.0.1/v1" }, "url"],
    [{ api_key_env: "KEY" }, "api_key_env"],
    [{ language: "english" }, "language"],
    [{ silence_threshold_ms: 90_000 }, "silence_threshold_ms"],
    [{ speed: 3 }, ""],
  ])("does not take %j", (config, path) => {
    const parsed = voice.safeParse(config);
    expect(parsed.error?.issues.map((issue) => issue.path.join("."))).toContain(path);
  });

  it("takes a server on this machine, and another where that is said", () => {
    for (const url of ["http://localhost:8000/v1", "http://127.0.0.1/v1", "http://[::1]:9/v1"]) expect(voice.safeParse({ url }).success).toBe(true);
    expect(voice.safeParse({ url: "https://api.openai.com/v1", allow_remote: true, api_key_env: "OPENAI_API_KEY" }).success).toBe(true);
  });
});
