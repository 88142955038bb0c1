/** Owns engines for tests: a server that speaks OpenAI's transcription API, and a program with whisper.cpp's command line. Both hear what the recording's length says. */

import { once } from "node:events";
import { chmodSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

export interface Heard {
  headers: IncomingHttpHeaders;
  model: string | null;
  language: string | null;
  /** The recording. */
  file: Uint8Array;
  name: string;
}
export interface TranscriptionServer {
  /** Up to and with `/v1`. */
  url: string;
  heard: Heard[];
  /** What the next recordings are answered with: words, a failure, or nothing for so many milliseconds first. */
  says: string | { status: number } | { redirect: string } | { after: number; says: string };
  close(): Promise<void>;
}

/** A server on a free port of this machine. */
export async function startTranscriptionServer(says: TranscriptionServer["says"] = "hello from the microphone"): Promise<TranscriptionServer> {
  const heard: Heard[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      if (request.method !== "POST" || request.url !== "/v1/audio/transcriptions") {
        response.writeHead(404).end();
        return;
      }
      const form = await formOf(request);
      const file = form.get("file");
      if (!(file instanceof File)) {
        response.writeHead(400).end(JSON.stringify({ error: { message: "no file" } }));
        return;
      }
      const words = (name: string) => (typeof form.get(name) === "string" ? (form.get(name) as string) : null);
      heard.push({ headers: request.headers, model: words("model"), language: words("language"), file: new Uint8Array(await file.arrayBuffer()), name: file.name });
      const { says: said } = made;
      if (typeof said === "object" && "status" in said) {
        response.writeHead(said.status).end("not today");
        return;
      }
      if (typeof said === "object" && "redirect" in said) {
        response.writeHead(307, { location: said.redirect }).end();
        return;
      }
      if (typeof said === "object") await new Promise((resolve) => setTimeout(resolve, said.after).unref());
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ text: typeof said === "object" ? said.says : said }));
    })();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const made: TranscriptionServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, heard, says,
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return made;
}

async function formOf(request: IncomingMessage): Promise<FormData> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  return new Response(Buffer.concat(parts), { headers: { "content-type": request.headers["content-type"] ?? "" } }).formData();
}

/** Puts a `whisper-cli` into a directory: it checks its arguments and its file as whisper.cpp does, and writes what it was told to say. `json`: it can write JSON. */
export function fakeWhisper(directory: string, { says = "the fake whisper heard you", json = true, sleep = 0, code = 0 } = {}): string {
  const path = join(directory, "whisper-cli");
  const program = `#!${process.execPath}
const { readFileSync, statSync, writeFileSync } = require("node:fs");
const args = process.argv.slice(2);
const of = (flag) => (args.includes(flag) ? args[args.indexOf(flag) + 1] : undefined);
if (${code}) { console.error("whisper_init: cannot load the model"); process.exit(${code}); }
const wav = readFileSync(of("-f"));
if (!of("-m") || !readFileSync(of("-m")).length || wav.toString("latin1", 0, 4) !== "RIFF" || wav.readUInt32LE(24) !== 16000) { console.error("error: WAV file must be 16 kHz"); process.exit(3); }
if ((statSync(of("-f")).mode & 0o077) !== 0) { console.error("error: others can read the recording"); process.exit(4); }
setTimeout(() => {
  writeFileSync(of("-of") + ".txt", ${JSON.stringify(` ${says}\n`)});
  if (${json} && args.includes("-oj")) writeFileSync(of("-of") + ".json", JSON.stringify({ result: { language: of("-l") === "auto" ? "en" : of("-l") }, transcription: [{ text: " " + ${JSON.stringify(says)} }] }));
}, ${sleep});
`;
  writeFileSync(path, program);
  chmodSync(path, 0o755);
  return path;
}

/** A WAV recording of silence, 16 kHz, mono, 16 bits. */
export function silence(seconds: number, rate = 16_000): Uint8Array<ArrayBuffer> {
  const bytes = Math.round(seconds * rate) * 2;
  const header = Buffer.alloc(44);
  header.write("RIFF", 0, "latin1");
  header.writeUInt32LE(36 + bytes, 4);
  header.write("WAVEfmt ", 8, "latin1");
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(rate * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36, "latin1");
  header.writeUInt32LE(bytes, 40);
  return Uint8Array.from(Buffer.concat([header, Buffer.alloc(bytes)]));
}
