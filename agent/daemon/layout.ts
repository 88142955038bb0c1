/** Owns where everything lies in the daemon's data directory, and who may read it. */

import { chown, mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { spawn } from "node:child_process";
import type { Owner, SandboxDirectories } from "../providers/provider.ts";

/** Paths below the data directory. Names are ids, which the protocol's schemas have checked. */
export class Layout {
  readonly root: string;
  constructor(root: string) {
    this.root = root;
  }
  /** The host's id, as the control plane gave it. */
  get hostId(): string {
    return join(this.root, "host_id");
  }
  /** A random name of this data directory, by which its sandboxes are known again. */
  get dataId(): string {
    return join(this.root, "data_id");
  }
  get runners(): string {
    return join(this.root, "runners");
  }
  get warm(): string {
    return join(this.root, "warm");
  }
  get cache(): string {
    return join(this.root, "cache");
  }
  get bundle(): string {
    return join(this.root, "bundle");
  }
  get workspaces(): string {
    return join(this.root, "workspaces");
  }
  workspace(workspaceId: string): string {
    return join(this.workspaces, workspaceId);
  }
  /** Beside a workspace: which directory of the host's own stands for it. */
  directoryNote(workspaceId: string): string {
    return join(this.workspaces, `${workspaceId}.json`);
  }
  get sessions(): string {
    return join(this.root, "sessions");
  }
  /** What the daemon knows of a session, and beside it the home that its sandboxes see. */
  session(sessionId: string): string {
    return join(this.sessions, sessionId);
  }
  runner(runnerId: string): string {
    return join(this.runners, runnerId);
  }
  directories(ids: { workspace_id: string; session_id: string; runner_id: string; directory?: { path: string } | undefined }): SandboxDirectories {
    const record = this.runner(ids.runner_id);
    return { ...(ids.directory ? { workspace: ids.directory.path, foreign: true } : { workspace: this.workspace(ids.workspace_id) }), home: join(this.session(ids.session_id), "home"), state: join(record, "state"), record };
  }
  /** Makes the data directory, closed to other users. */
  async make(): Promise<void> {
    await mkdir(this.root, { recursive: true, mode: 0o700 });
    await Promise.all([this.runners, this.warm, this.cache, this.workspaces, this.sessions].map((path) => mkdir(path, { recursive: true, mode: 0o700 })));
  }
}

/**
 * Makes a runner's directories and the private files of its state; what the sandbox writes belongs to `owner`.
 * `fresh`: workspace and home were not there before. A workspace that is the host's own directory is left as it is.
 */
export async function makeDirectories(directories: SandboxDirectories, owner: Owner | null, stateFiles: Readonly<Record<string, string>>): Promise<{ fresh: boolean }> {
  await mkdir(directories.record, { recursive: true, mode: 0o700 });
  const [home, , workspace] = await Promise.all([directories.home, directories.state, ...(directories.foreign ? [] : [directories.workspace])].map((path) => makeOwned(path, owner)));
  await Promise.all(
    Object.entries(stateFiles).map(async ([name, text]) => {
      const path = join(directories.state, name);
      await writeFile(path, text, { mode: 0o600 });
      if (owner) await chown(path, owner.uid, owner.gid);
    }),
  );
  return { fresh: workspace === true && home === true };
}

async function makeOwned(path: string, owner: Owner | null): Promise<boolean> {
  const fresh = (await mkdir(path, { recursive: true, mode: 0o700 })) !== undefined;
  if (owner && fresh) await chown(path, owner.uid, owner.gid);
  // A workspace that another provider filled as another user would be unwritable inside.
  if (owner && !fresh && (await stat(path)).uid !== owner.uid) await chownTree(path, owner);
  return fresh;
}

function chownTree(path: string, owner: Owner): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn("chown", ["-hR", `${owner.uid}:${owner.gid}`, path], { stdio: "ignore" });
    child.once("error", reject);
    child.once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`chown of ${path} ended with ${code}`))));
  });
}
