/** Owns how a path that an agent writes becomes a place in `/workspace` or `/.marco`, or is refused. Pure: links are the providers' matter. */

import { posix } from "node:path";
import { IDENTITY, WORKSPACE, WorkspaceError } from "./contracts.ts";

const MAX_PATH = 4_096;
const MAX_NAME_BYTES = 255;

export interface Place {
  area: "workspace" | "identity";
  /** Below the area's directory, without `.` and `..`; empty for the directory itself. */
  relative: string;
  /** As the agent writes it: `/workspace/a`. */
  shown: string;
}

/** The place that `path` names. `root` and `identity` are where programs see the two areas: their absolute paths are understood as well. */
export function placeOf(path: string, root: string = WORKSPACE, identity: string = IDENTITY): Place {
  if (path.length > MAX_PATH) throw new WorkspaceError("invalid", `path: longer than ${MAX_PATH} characters`);
  if (path.includes("\0")) throw new WorkspaceError("invalid", "path: holds a NUL character");
  if (!path.isWellFormed()) throw new WorkspaceError("invalid", "path: is not well-formed Unicode");
  // `..` is refused even where it would stay inside: behind a link it means another place than it seems to.
  if (path.split("/").includes("..")) throw new WorkspaceError("outside", `path: ${JSON.stringify(path)} holds '..'; write it as ${WORKSPACE}/… or relative to it`);
  const absolute = posix.normalize(path.startsWith("/") ? path : `${WORKSPACE}/${path}`).replace(/(.)\/$/, "$1");
  const bases = [["workspace", WORKSPACE, WORKSPACE], ["identity", IDENTITY, IDENTITY], ["workspace", root, WORKSPACE], ["identity", identity, IDENTITY]] as const;
  for (const [area, base, shown] of bases) {
    if (absolute !== base && !absolute.startsWith(`${base}/`)) continue;
    const relative = absolute.slice(base.length + 1);
    if (relative.split("/").some((name) => Buffer.byteLength(name) > MAX_NAME_BYTES)) throw new WorkspaceError("invalid", `path: a name in it is longer than ${MAX_NAME_BYTES} bytes`);
    return { area, relative, shown: relative === "" ? shown : `${shown}/${relative}` };
  }
  throw new WorkspaceError("outside", `path: ${JSON.stringify(path)} is not in ${WORKSPACE} (nor in ${IDENTITY}, which can be read)`);
}

/** The same, for a write: `/.marco` and the area's own directory are refused. */
export function writablePlace(path: string, root?: string, identity?: string): Place {
  const place = placeOf(path, root, identity);
  if (place.area === "identity") throw new WorkspaceError("read_only", `${place.shown} is part of the agent's identity, which is read-only`);
  if (place.relative === "") throw new WorkspaceError("invalid", `${WORKSPACE} itself cannot be written or deleted`);
  return place;
}

/** A path relative to `/.marco`, as an image's contents name it. */
export function identityPath(path: string): string {
  const { area, relative } = placeOf(path.startsWith("/") ? path : `${IDENTITY}/${path}`);
  if (area !== "identity" || relative === "") throw new WorkspaceError("outside", `identity file ${JSON.stringify(path)}: expected a path relative to ${IDENTITY}`);
  return relative;
}
