/** Owns reading the workspace's own texts (instructions, memory, skills, agents): bounded, as UTF-8, and in words where that fails. */

import { isUtf8 } from "node:buffer";
import { WorkspaceError, type AgentWorkspace, type FileStat } from "./sandbox/contracts.ts";

/** Bytes of a text that becomes part of a prompt or a skill, at most. */
export const MAX_TEXT_BYTES = 256 * 1024;

/** The text; null where there is no such file. `cut` where it is longer than was read. Throws an error with words where it is no text. */
export async function readText(workspace: AgentWorkspace, path: string): Promise<{ text: string; cut: boolean } | null> {
  try {
    const { bytes, size } = await workspace.read(path, { length: MAX_TEXT_BYTES });
    const whole = size <= bytes.length ? bytes : withoutHalf(bytes);
    if (!isUtf8(whole) || whole.includes(0)) throw new Error(`${path} is not UTF-8 text`);
    return { text: Buffer.from(whole).toString("utf8"), cut: size > bytes.length };
  } catch (error) {
    if (error instanceof WorkspaceError && (error.code === "not_found" || error.code === "not_a_directory")) return null;
    if (error instanceof WorkspaceError && error.code === "not_a_file") throw new Error(`${path} is not a file`, { cause: error });
    throw error;
  }
}

/** The directory's entries; none where there is no such directory. */
export async function listEntries(workspace: AgentWorkspace, path: string): Promise<FileStat[]> {
  try {
    return await workspace.list(path);
  } catch (error) {
    if (error instanceof WorkspaceError && (error.code === "not_found" || error.code === "not_a_directory")) return [];
    throw error;
  }
}

/** UTF-8 without the beginning of a character at its end. */
export function withoutHalf(bytes: Uint8Array): Uint8Array {
  for (let back = 0; back < 4 && back < bytes.length; back++) {
    const byte = bytes[bytes.length - 1 - back] ?? 0;
    if ((byte & 0b1100_0000) === 0b1000_0000) continue;
    const whole = byte >= 0b1111_0000 ? 4 : byte >= 0b1110_0000 ? 3 : byte >= 0b1100_0000 ? 2 : 1;
    return back + 1 < whole ? bytes.subarray(0, bytes.length - 1 - back) : bytes;
  }
  return bytes;
}
