/** Owns the images of a task on their way to its agent: fetched through the runner's own door, and laid where the agent can read them. */

import { lstat, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Attachment } from "../../sdk/protocol/attachment.ts";
import { Failure } from "../../sdk/protocol/errors.ts";
import { Secret } from "../../sdk/protocol/secret.ts";
import { HttpDoor } from "../../sdk/workspace/http-door.ts";
import type { AttachedImage } from "../adapters/adapter.ts";
import { LaunchError } from "./process.ts";
import type { RunnerSpec } from "./spec.ts";

/** Below the workspace. Neither kept with it nor shown to git: the images are in the object store, and each task that names one brings it again. */
const FOLDER = [".marionette", "attachments"] as const;
const KEPT_OUT = { ".marionetteignore": "*\n", ".gitignore": "*\n" } as const;
const ATTEMPTS = 6;

/** Fetches the images and lays them down. Throws a `LaunchError` that says which one cannot be had, and why. */
export async function fetchAttachments(spec: Pick<RunnerSpec, "server" | "socket" | "run_token" | "session_id" | "workspace">, attachments: readonly Attachment[], signal: AbortSignal): Promise<AttachedImage[]> {
  const { server, socket, run_token, session_id, workspace } = spec;
  const token = new Secret(run_token);
  const door = new HttpDoor({ base: new URL(`/links/attachments/${session_id}`, server).href, token: () => token, attempts: ATTEMPTS, ...(socket !== undefined && { socket }) });
  let at: Attachment | undefined;
  try {
    const folder = await folderOf(workspace);
    const files: AttachedImage[] = [];
    for (at of attachments) {
      const { id, name, media_type, size } = at;
      const bytes = await door.read(`/${id}`, size, signal);
      if (bytes.length !== size) throw new Error(`${bytes.length} bytes came instead of ${size}`);
      const path = join(folder, `${id}-${name}`);
      const next = `${path}.next`;
      await rm(next, { force: true, recursive: true });
      // Made anew, so that no link that lies there is written through.
      await writeFile(next, bytes, { flag: "wx", mode: 0o644 });
      await rename(next, path);
      files.push({ path, shown: [...FOLDER, `${id}-${name}`].join("/"), name, media_type, size });
    }
    return files;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const hint = error instanceof Failure && error.code === "not_found" ? "Send the image to the session again and give it to a new task" : "Try the task again; if it stays so, look whether the workspace can be written and the control plane is reached";
    throw new LaunchError({ code: "attachment_missing", message: `the image ${at ? `'${at.name}'` : "folder"} cannot be given to the agent: ${why}`.slice(0, 4_000), hint });
  } finally {
    await door.close();
  }
}

/** The folder, each part of it a directory of its own: a link that an agent has put there leads nowhere. */
async function folderOf(workspace: string): Promise<string> {
  let path = workspace;
  for (const name of FOLDER) {
    path = join(path, name);
    await mkdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    if (!(await lstat(path)).isDirectory()) throw new Error(`${FOLDER.join("/")} in the workspace is not a directory`);
  }
  for (const [name, text] of Object.entries(KEPT_OUT)) {
    const next = join(path, `${name}.next`);
    await rm(next, { force: true, recursive: true });
    await writeFile(next, text, { flag: "wx" });
    await rename(next, join(path, name));
  }
  return path;
}
