/** Owns reading one web page from here: bounded in size, time and redirects, and never from a private address, whatever a name resolves to. */

import { lookup as resolve } from "node:dns";
import { request as http, type IncomingMessage, type RequestOptions } from "node:http";
import { request as https } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import { pipeline } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { isPublicAddress } from "./address.ts";
import { boundedBytes } from "./bounded-body.ts";
import { readableText } from "./html.ts";
import { SearchError, type FetchedPage, type FetchOptions } from "./provider.ts";

const MAX_REDIRECTS = 5;
const TIMEOUT_MS = 20_000;
const READABLE = /^(text\/|application\/(json|xml|javascript|x-ndjson|yaml|x-yaml|[\w.-]+\+(json|xml)))/;

/** The page's text. `allowPrivate` is for tests and for agents that shall reach their own network. */
export async function fetchPage(url: string, { maxBytes, signal }: FetchOptions, allowPrivate = false): Promise<FetchedPage> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  try {
    let at = checkedUrl(url);
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const answer = await ask(at, limit, allowPrivate);
      const { statusCode: status = 0, headers } = answer;
      if (status >= 300 && status < 400 && headers.location !== undefined) {
        answer.destroy();
        at = checkedUrl(new URL(headers.location, at).href);
        continue;
      }
      const type = headers["content-type"] ?? "text/plain";
      if (status >= 400) {
        answer.destroy();
        throw new SearchError(`${at.href} answered ${status}`);
      }
      if (!READABLE.test(type)) {
        answer.destroy();
        throw new SearchError(`${at.href} is ${type.slice(0, 100)}, not text; download it with exec if the file itself is needed`);
      }
      const { bytes, truncated } = await boundedBytes(unpacked(answer), maxBytes);
      answer.destroy();
      const text = decoded(bytes, type);
      return /^(text\/html|application\/xhtml)/.test(type) ? { url: at.href, truncated, ...readableText(text) } : { url: at.href, title: null, text, truncated };
    }
    throw new SearchError(`${url} leads to more than ${MAX_REDIRECTS} redirects`);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof SearchError) throw error;
    if (limit.aborted) throw new SearchError(`${url} did not come within ${TIMEOUT_MS / 1_000} seconds`);
    const inner = error instanceof Error && error.cause instanceof SearchError ? error.cause : null;
    throw inner ?? new SearchError(`${url} cannot be fetched: ${error instanceof Error ? error.message.slice(0, 300) : "it failed"}`, { cause: error });
  }
}

function checkedUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) throw new SearchError(`${JSON.stringify(text.slice(0, 200))} is no address that begins with http:// or https://`);
  if (url.username !== "" || url.password !== "") throw new SearchError("addresses with a user or a password are not fetched");
  return url;
}

const refusal = (host: string) => new SearchError(`${host} is an address of a private network, which fetch_url does not reach`);

function ask(url: URL, signal: AbortSignal, allowPrivate: boolean): Promise<IncomingMessage> {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  // A literal address is never looked up.
  if (!allowPrivate && isIP(host) !== 0 && !isPublicAddress(host)) throw refusal(url.hostname);
  const options: RequestOptions = { signal, agent: false, headers: { "user-agent": "marco/1.0", accept: "text/html,application/xhtml+xml,text/*;q=0.9,*/*;q=0.5", "accept-encoding": "gzip, deflate, br" }, ...(!allowPrivate && { lookup: publicLookup }) };
  return new Promise((done, failed) => {
    (url.protocol === "https:" ? https : http)(url, options, done).once("error", failed).end();
  });
}

/** Resolves for the connection itself: a name that resolves anew to another address in between gains nothing. */
const publicLookup: LookupFunction = (hostname, options, callback) => {
  resolve(hostname, { ...options, all: true }, (error, addresses) => {
    if (error) return callback(error, "", 4);
    const bad = addresses.some(({ address }) => !isPublicAddress(address));
    if (bad || addresses[0] === undefined) return callback(Object.assign(new Error("private address", { cause: refusal(hostname) }), { code: "EACCES" }), "", 4);
    return options.all === true ? callback(null, addresses) : callback(null, addresses[0].address, addresses[0].family);
  });
};

function unpacked(answer: IncomingMessage): AsyncIterable<Uint8Array> {
  const coding = (answer.headers["content-encoding"] ?? "identity").trim().toLowerCase();
  if (coding === "identity" || coding === "") return answer;
  const unpack = coding === "gzip" || coding === "x-gzip" ? createGunzip() : coding === "deflate" ? createInflate() : coding === "br" ? createBrotliDecompress() : null;
  if (unpack === null) throw new SearchError(`the page comes in the coding ${coding.slice(0, 50)}, which was not asked for`);
  // Errors of either reach the reader through the last.
  return pipeline(answer, unpack, () => {});
}

function decoded(bytes: Uint8Array, type: string): string {
  const named = /charset\s*=\s*"?([\w-]+)/i.exec(type)?.[1] ?? /<meta[^>]{0,200}charset\s*=\s*["']?([\w-]+)/i.exec(Buffer.from(bytes.subarray(0, 2_048)).toString("latin1"))?.[1] ?? "utf-8";
  try {
    return new TextDecoder(named).decode(bytes);
  } catch {
    return new TextDecoder().decode(bytes);
  }
}
