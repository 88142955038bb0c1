/** Owns reading a file's bytes as UTF-8 text, or saying in words what they are instead. */

import { WorkspaceError } from "../sandbox/contracts.ts";

const SNIFFED = 8_192;
/** The text of UTF-8 bytes, with a byte order mark left in place. Throws `invalid` with what it is instead. */
export function textOfBytes(bytes: Uint8Array, path: string): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) throw refused(path, "UTF-16 text, not UTF-8", `iconv -f UTF-16 -t UTF-8 ${path}`);
  if (bytes.subarray(0, SNIFFED).includes(0)) throw refused(path, `a binary file of ${bytes.byteLength} bytes`, `file ${path}; xxd ${path} | head`);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw refused(path, `not UTF-8 text${firstBad(bytes)}`, `iconv -f ISO-8859-1 -t UTF-8 ${path}`);
  }
}

function refused(path: string, what: string, command: string): WorkspaceError {
  return new WorkspaceError("invalid", `${path} is ${what}. To look into it, use exec, for example: ${command}`);
}

/** Where decoding fails first, found by halving. */
function firstBad(bytes: Uint8Array): string {
  let good = 0;
  let bad = bytes.byteLength;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    // A character that the cut divides is no fault: `stream` waits for its rest.
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, middle), { stream: true });
      good = middle;
    } catch {
      bad = middle;
    }
  }
  // Back to where the character begins that is broken.
  let at = Math.min(good, bytes.byteLength - 1);
  while (at > 0 && !complete(bytes.subarray(0, at))) at--;
  return ` (byte 0x${(bytes[at] ?? 0).toString(16).padStart(2, "0")} at offset ${at})`;
}

/** Decodes without a rest; a character has four bytes at most, so its beginning is near. */
function complete(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
