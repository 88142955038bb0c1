/** Owns what the gateway reads of a request: its body within a limit, and what in it decides over its cost. The bytes themselves go on untouched. */

import { Failure, type ModelApi } from "../../sdk/protocol/index.ts";
import { BYTES_PER_TOKEN, type RequestSize } from "./estimate.ts";
import { PICTURE_TOKENS, picturesOf } from "./pictures.ts";

/** Largest body that goes upstream: what Anthropic and OpenAI take at most. */
export const MAX_MODEL_BODY_BYTES = 32 * 1024 * 1024;
/** Most that is taken and thrown away so that a sender who does not listen while it sends hears the refusal. */
const MAX_DISCARDED_BYTES = 2 * MAX_MODEL_BODY_BYTES;

/** The body's bytes; throws `payload_too_large` without keeping more than may be. */
export async function readBody(request: Request): Promise<Uint8Array<ArrayBuffer>> {
  const stated = Number(request.headers.get("content-length") ?? 0);
  const tooLarge = () => new Failure("payload_too_large", `body: larger than ${MAX_MODEL_BODY_BYTES} bytes`);
  if (!request.body) return new Uint8Array();
  if (stated > MAX_DISCARDED_BYTES) throw tooLarge();
  if (stated > 0 && stated <= MAX_MODEL_BODY_BYTES) return new Uint8Array(await request.arrayBuffer());
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of request.body as ReadableStream<Uint8Array>) {
    size += part.byteLength;
    if (size > MAX_DISCARDED_BYTES) break;
    if (size <= MAX_MODEL_BODY_BYTES) parts.push(part);
    else parts.length = 0;
  }
  if (size > MAX_MODEL_BODY_BYTES) throw tooLarge();
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}

export interface Facts {
  model: string | null;
  stream: boolean;
  size: RequestSize;
  /** A streamed chat that does not ask for its usage. */
  wantsUsage: boolean;
}

const LINKED = /"(?:url|image_url|file_url)"\s*:\s*(?:\{\s*"url"\s*:\s*)?"https?:|"file_id"\s*:\s*"/g;
const whole = (value: unknown): number | null => (typeof value === "number" && Number.isFinite(value) && value >= 0 ? Math.ceil(value) : null);

/** A body in one of the encodings that this runtime knows, unpacked. */
async function unpacked(bytes: Uint8Array<ArrayBuffer>, encoding: string | null): Promise<Uint8Array> {
  if (encoding === null || encoding === "identity") return bytes;
  if (encoding !== "gzip" && encoding !== "deflate") throw new Failure("bad_request", `content-encoding: the gateway cannot read '${encoding.slice(0, 40)}'; send gzip or none`);
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of new Blob([bytes]).stream().pipeThrough<Uint8Array>(new DecompressionStream(encoding))) {
    size += part.byteLength;
    if (size > MAX_MODEL_BODY_BYTES) throw new Failure("payload_too_large", `body: larger than ${MAX_MODEL_BODY_BYTES} bytes when unpacked`);
    parts.push(part);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Reads a metered request; throws `bad_request` where it is no JSON object with a model. */
export async function factsOf(api: ModelApi, bytes: Uint8Array<ArrayBuffer>, encoding: string | null): Promise<Facts> {
  let body: Record<string, unknown>;
  let text: string;
  let size: number;
  try {
    const plain = await unpacked(bytes, encoding);
    size = plain.byteLength;
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(plain);
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw new SyntaxError("not an object");
    body = value as Record<string, unknown>;
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure("bad_request", "body: expected a JSON object");
  }
  // Servers heed one of a chat's two limits or the other.
  const limits = (api === "anthropic.messages" ? ["max_tokens"] : api === "openai.responses" ? ["max_output_tokens"] : ["max_completion_tokens", "max_tokens"]).flatMap((name) => whole(body[name]) ?? []);
  const stream = body["stream"] === true;
  const { stream_options } = body;
  const asked = typeof stream_options === "object" && stream_options !== null && "include_usage" in stream_options;
  return {
    model: typeof body["model"] === "string" ? body["model"].slice(0, 200) : null,
    stream,
    size: {
      bytes: size - picturesOf(api, body).reduce((sum, chars) => sum + Math.max(0, chars - PICTURE_TOKENS * BYTES_PER_TOKEN), 0), max_output_tokens: limits.length === 0 ? null : Math.max(...limits),
      answers: Math.max(1, Math.min(128, whole(body["n"]) ?? 1)), linked: text.match(LINKED)?.length ?? 0, stored: [body["previous_response_id"], body["conversation"]].some((each) => each !== undefined && each !== null),
    },
    wantsUsage: api === "openai.chat" && stream && stream_options === undefined && !asked && (encoding === null || encoding === "identity"),
  };
}

const ASK = new TextEncoder().encode('"stream_options":{"include_usage":true},');

/** The body with one field more, every other byte as it was. The body is a JSON object with at least one field. */
export function askingForUsage(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const at = bytes.indexOf(0x7b) + 1;
  const out = new Uint8Array(bytes.byteLength + ASK.byteLength);
  out.set(bytes.subarray(0, at));
  out.set(ASK, at);
  out.set(bytes.subarray(at), at + ASK.byteLength);
  return out;
}
