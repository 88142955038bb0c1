/** Owns the paths inside a kept tree: bytes, their order, and which of them no manifest may hold. */

/** Bytes as text, one character (U+0000 to U+00FF) each: a file's name is bytes, and not all of them are UTF-8. */
export type ByteString = string;

/** Longest path (PATH_MAX of Linux with its NUL) and longest name in it, bytes. */
export const MAX_PATH_BYTES = 4_095;
export const MAX_NAME_BYTES = 255;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
// oxlint-disable-next-line no-control-regex -- ASCII is the common case: text and bytes are the same there
const ASCII = /^[\x00-\x7f]*$/;
/** What another system would take for a drive, a share or a device. */
const DRIVE = /^([A-Za-z]:($|[\\/])|\\\\)/;

export function utf8ToBytes(text: string): ByteString {
  if (ASCII.test(text)) return text;
  let bytes = "";
  for (const byte of encoder.encode(text)) bytes += String.fromCharCode(byte);
  return bytes;
}

/** The text of bytes that are UTF-8; null where they are not. */
export function bytesToUtf8(bytes: ByteString): string | null {
  if (ASCII.test(bytes)) return bytes;
  try {
    return decoder.decode(Uint8Array.from(bytes, (char) => char.charCodeAt(0)));
  } catch {
    return null;
  }
}

/** Two spellings of a name in JSON: text where it is UTF-8, base64 of its bytes where it is not. */
export function writeName<Key extends string>(key: Key, bytes: ByteString): { [K in Key | `${Key}_b64`]?: string } {
  const text = bytesToUtf8(bytes);
  return (text === null ? { [`${key}_b64`]: btoa(bytes) } : { [key]: text }) as { [K in Key | `${Key}_b64`]?: string };
}

/** The bytes of a name in its one right spelling; null where there is none, both, or the wrong one. */
export function readName(text: string | undefined, base64: string | undefined): ByteString | null {
  if ((text === undefined) === (base64 === undefined)) return null;
  if (text !== undefined) return text.isWellFormed() ? utf8ToBytes(text) : null;
  const bytes = atob(base64 ?? "");
  return bytesToUtf8(bytes) === null ? bytes : null;
}

/** For people: bytes that are no UTF-8 are shown as `\xff`. */
export function showPath(bytes: ByteString): string {
  return bytesToUtf8(bytes) ?? bytes.replace(/[^\x20-\x7e]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** A key that sorts paths so that a directory stands right before all that is in it: "/" comes before every other byte. */
export function byteOrder(path: ByteString): string {
  return path.includes("/") ? path.replaceAll("/", "\0") : path;
}

/** Why no manifest may hold this path, in words that follow it; null where it may. `longest` may be shorter than what a manifest may hold, bytes. */
export function pathFault(path: ByteString, longest = MAX_PATH_BYTES): string | null {
  if (path === "") return "is empty";
  if (path.startsWith("/")) return "is absolute";
  if (DRIVE.test(path)) return "is a device's or a drive's path";
  if (path.length > longest) return `is longer than ${longest} bytes`;
  if (path.includes("\0")) return "holds a NUL";
  for (const name of path.split("/")) {
    if (name === "") return "has an empty name in it";
    if (name === "." || name === "..") return `has "${name}" in it`;
    if (name.length > MAX_NAME_BYTES) return `has a name longer than ${MAX_NAME_BYTES} bytes`;
  }
  return null;
}

/**
 * Whether a symlink at `path` leads out of the tree. True also for ".." behind a name: what the name leads to cannot be known from here. So all
 * links for which this is false stay inside together: each first climbs real directories, then only descends.
 */
export function leadsOutside(path: ByteString, target: ByteString): boolean {
  if (target.startsWith("/") || DRIVE.test(target)) return true;
  let depth = path.split("/").length - 1;
  let descended = false;
  for (const name of target.split("/")) {
    if (name === "" || name === ".") continue;
    if (name !== "..") descended = true;
    else if (descended || --depth < 0) return true;
  }
  return false;
}
