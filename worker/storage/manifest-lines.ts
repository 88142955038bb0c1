/** Owns the reading of stored manifests: unpacked as they come, line by line, checked, and never more than a line in memory. */

import { createZstdDecompress } from "node:zlib";
import { Failure } from "../../sdk/protocol/index.ts";
import { MAX_MANIFEST_BYTES, MAX_MANIFEST_LINE_CHARS, ManifestCheck, type ManifestHeader, type ManifestLimits } from "../../sdk/protocol/manifest.ts";

/** Compressed bytes that are unpacked in one go. */
const SLICE_BYTES = 256 * 1024;

const refused = (why: string) => new Failure("bad_request", `the manifest is refused: ${why}`, { details: { manifest: why } });

/** Unpacks zstd in pieces; `take` may throw to end it. */
function unpack(packed: Uint8Array, take: (bytes: Uint8Array) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = createZstdDecompress();
    let over = false;
    function end(error?: Error): void {
      if (over) return;
      over = true;
      stream.destroy();
      if (error) reject(error);
      else resolve();
    }
    stream.on("data", (bytes) => {
      if (over) return;
      try {
        take(bytes);
      } catch (error) {
        end(error instanceof Error ? error : new Error(String(error)));
      }
    });
    stream.on("end", () => end());
    stream.on("error", (error) => end(refused(`it is no whole zstd (${error.message.slice(0, 100)})`)));
    let at = 0;
    function feed(): void {
      if (over) return;
      if (at >= packed.byteLength) return stream.end();
      const slice = packed.subarray(at, at + SLICE_BYTES);
      at += slice.byteLength;
      stream.write(slice, () => feed());
    }
    feed();
  });
}

/**
 * Reads a packed manifest and checks all of it; `see` is told of what each line holds. Throws `bad_request` naming what is wrong:
 * no zstd, truncated, too large unpacked, or anything that `ManifestCheck` refuses.
 */
export async function readManifest(packed: Uint8Array, limits: Partial<ManifestLimits>, see: (line: ReturnType<ManifestCheck["line"]>) => void = () => {}): Promise<{ header: ManifestHeader; check: ManifestCheck }> {
  const check = new ManifestCheck(limits);
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let rest = "";
  let total = 0;
  function lines(text: string): void {
    let from = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", from)) {
      see(check.line(rest + text.slice(from, end)));
      rest = "";
      from = end + 1;
    }
    rest += text.slice(from);
    if (rest.length > MAX_MANIFEST_LINE_CHARS) throw refused("a line is too long");
  }
  function decoded(bytes?: Uint8Array): string {
    try {
      return bytes ? decoder.decode(bytes, { stream: true }) : decoder.decode();
    } catch {
      throw refused("it is not UTF-8");
    }
  }
  await unpack(packed, (bytes) => {
    total += bytes.byteLength;
    if (total > MAX_MANIFEST_BYTES) throw refused(`it unpacks to more than ${MAX_MANIFEST_BYTES} bytes`);
    lines(decoded(bytes));
  });
  lines(decoded());
  if (rest !== "") throw refused("it is truncated: its last line has no end");
  return { header: check.end(), check };
}
