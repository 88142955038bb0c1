/** Owns how a tree's path is given to the operating system. */

import type { ByteString } from "../protocol/tree-path.ts";

/** Text where it is ASCII (which is faster), bytes otherwise. */
export type SystemPath = string | Buffer;

/** Where `path` lies below `root` (text). */
export function systemPath(root: string, path: ByteString): SystemPath {
  // oxlint-disable-next-line no-control-regex -- what is ASCII is the same as text and as bytes
  if (/^[\x00-\x7f]*$/.test(path)) return path === "" ? root : `${root}/${path}`;
  return Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, "latin1")]);
}
