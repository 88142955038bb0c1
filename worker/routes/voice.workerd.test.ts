import { beforeEach, describe, expect, it } from "vitest";
import { AUDIO_PIECE_BYTES, MAX_AUDIO_BYTES, newId, type Host, type VoiceStatus } from "../../sdk/protocol/index.ts";
import { doors, type Doors } from "../testing/doors.ts";

let d: Doors;
beforeEach(async () => {
  d = await doors();
});

async function host(more: Partial<Host> = {}): Promise<string> {
  const id = newId("host", Date.now());
  const at = new Date().toISOString();
  const voice = { engine: "whisper.cpp" as const, detail: "whisper-cli with ggml-base.bin", language: "en", accepts: ["audio/wav" as const], auto_send: true, silence_threshold_ms: 1_200 };
  const made: Host = {
    id, tenant_id: d.one.id, status: "online", name: "desk", version: 1, os: "linux", arch: "x64", cpus: 2, memory_mb: 1_024, labels: {}, pool: "default", max_runners: 4, default_provider: "process", providers: [], agents: [], runners: 0,
    created_at: at, last_seen_at: at, voice, ...more,
  };
  d.hosts.of(id).host = made;
  await d.records.projection.apply([{ resource: "host", value: made }]);
  return id;
}

/** Silence of so many seconds, 16 kHz, mono, 16 bits. */
function wav(seconds: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(44 + seconds * 32_000);
  const view = new DataView(bytes.buffer);
  const text = (at: number, words: string) => bytes.set(new TextEncoder().encode(words), at);
  text(0, "RIFF");
  view.setUint32(4, bytes.length - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, 16_000, true);
  view.setUint32(28, 32_000, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, bytes.length - 44, true);
  return bytes;
}
const send = (bytes: Uint8Array<ArrayBuffer>, { type = "audio/wav", key = d.one.token, query = "" } = {}) => d.raw(`/api/v1/voice/transcribe${query}`, { method: "POST", headers: { authorization: `Bearer ${key}`, "content-type": type }, body: bytes });
const failed = async (answer: Response) => ({ status: answer.status, ...(await answer.json<{ error: { code: string; message: string; hint?: string } }>()).error });

describe("whether speech can be turned into text", () => {
  it("is said with the engine, its host and its owner's defaults", async () => {
    const id = await host();
    expect(await d.json<VoiceStatus>("GET", "/voice/status")).toEqual({ available: true, engine: "whisper.cpp", language: "en", host: { id, name: "desk" }, hint: expect.stringContaining("ggml-base.bin") as unknown, auto_send: true, silence_threshold_ms: 1_200 });
    // Another tenant's hosts are not theirs.
    expect(await d.json<VoiceStatus>("GET", "/voice/status", { key: d.two.token })).toMatchObject({ available: false });
  });

  it("or how to get an engine, where no host that is online has one", async () => {
    await host({ voice: undefined });
    await host({ status: "offline" });
    expect(await d.json<VoiceStatus>("GET", "/voice/status")).toMatchObject({ available: false, engine: null, host: null, hint: expect.stringContaining("whisper-cli") as unknown });
    expect(await failed(await send(wav(1)))).toMatchObject({ status: 409, hint: expect.stringContaining("whisper-cli") as unknown });
  });
});

describe("a recording", () => {
  it("goes to the host in pieces, and comes back as text", async () => {
    const fake = d.hosts.of(await host());
    const recording = wav(70);
    const pieces = Math.ceil(recording.length / AUDIO_PIECE_BYTES);
    fake.heard = [...Array.from({ length: pieces - 1 }, () => ({ state: "more" as const })), { state: "working" }, { state: "working" }, { state: "done", text: "ship it", language: "en", duration_ms: 5 }];
    const answer = await send(recording, { query: "?language=en" });
    expect([answer.status, await answer.json()]).toEqual([200, { text: "ship it", language: "en", duration_ms: 5 }]);
    expect(fake.pieces).toHaveLength(pieces + 2);
    const bytes = fake.pieces.slice(0, pieces).map(({ base64 }) => atob(base64).length);
    expect([bytes.reduce((sum, size) => sum + size), Math.max(...bytes), fake.pieces.at(-1)?.base64, fake.pieces[0]?.language]).toEqual([recording.length, AUDIO_PIECE_BYTES, "", "en"]);
  });

  it("goes to another host where one has enough to do, and is refused where all have", async () => {
    const busy = { state: "failed", code: "rate_limited", message: "enough to listen to" } as const;
    const [first, second] = [d.hosts.of(await host()), d.hosts.of(await host())];
    // Whichever is asked first is busy.
    first.heard = second.heard = [busy, { state: "working" }, { state: "done", text: "heard by the other", language: null, duration_ms: 1 }];
    expect(await (await send(wav(1))).json()).toMatchObject({ text: "heard by the other" });
    expect(new Set([first.pieces.length, second.pieces.length])).toEqual(new Set([1, 2]));
    first.heard = second.heard = [busy, busy];
    expect(await failed(await send(wav(1)))).toMatchObject({ status: 429, code: "rate_limited" });
  });

  it.each([
    ["another kind", new TextEncoder().encode("hello"), "audio/mpeg", 400, "must be one of"],
    ["what is no recording", new TextEncoder().encode("hello"), "audio/wav", 400, "not audio/wav"],
    ["nothing", new Uint8Array(), "audio/wav", 400, "empty"],
    ["more than 10 MiB", new Uint8Array(MAX_AUDIO_BYTES + 1), "audio/wav", 413, String(MAX_AUDIO_BYTES)],
    ["more than two minutes", wav(121), "audio/wav", 400, "121 seconds"],
    ["a kind that no engine takes", new TextEncoder().encode("OggS and more"), "audio/ogg", 400, "take audio/wav"],
  ])("is not %s", async (_what, bytes, type, status, words) => {
    await host();
    expect(await failed(await send(bytes, { type }))).toMatchObject({ status, message: expect.stringContaining(words) as unknown });
  });

  it("takes a key that may write", async () => {
    await host();
    expect((await send(wav(1), { key: (await d.one.key(["read"])).token })).status).toBe(403);
    expect(await failed(await send(wav(1), { query: "?language=english" }))).toMatchObject({ status: 400 });
  });
});
