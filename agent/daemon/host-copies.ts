/** Owns the host's copies of workspaces and homes: whose they are, and when they go. */

import { randomBytes } from "node:crypto";
import { renameSync } from "node:fs";
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { idOf, timestamp } from "../../sdk/protocol/index.ts";
import { MARKER } from "../runner/spec.ts";
import type { Layout } from "./layout.ts";
import type { Logger } from "./log.ts";

/** Beside a session's home, where its sandboxes see nothing. */
const FILE = "session.json";
/** In the name of what is being removed; whatever a death of the daemon left of it goes with the next prune. */
const GONE = ".gone-";

const kept = z.object({
  session_id: idOf("session"),
  workspace_id: idOf("workspace"),
  /** When the control plane said that the session has ended. */
  ended_at: timestamp.nullable(),
  /** The last capsule that holds these trees as they are; null where something has run since, or none was taken. */
  capsule_id: idOf("capsule").nullable(),
});
export type HostCopy = z.infer<typeof kept>;

/** Which copies may go at `now` (epoch milliseconds): of sessions that ended `retentionSeconds` ago, are in a capsule and in nobody's use. Pure. */
export function expired(copies: readonly HostCopy[], now: number, retentionSeconds: number, used: (copy: HostCopy) => boolean): { sessions: HostCopy[]; workspaces: string[] } {
  const over = (copy: HostCopy) => copy.ended_at !== null && copy.capsule_id !== null && now - Date.parse(copy.ended_at) >= retentionSeconds * 1_000 && !used(copy);
  const sessions = copies.filter(over);
  const stay = new Set(copies.filter((copy) => !sessions.includes(copy)).map(({ workspace_id }) => workspace_id));
  return { sessions, workspaces: [...new Set(sessions.map(({ workspace_id }) => workspace_id))].filter((id) => !stay.has(id)) };
}

export interface HostCopiesOptions {
  layout: Layout;
  retentionSeconds: number;
  /** Whether a runner that lives or is kept works for the session or on the workspace. */
  uses: (sessionId: string, workspaceId: string) => boolean;
  log: Logger;
}

export class HostCopies {
  readonly #options: HostCopiesOptions;
  constructor(options: HostCopiesOptions) {
    this.#options = options;
  }

  /** A runner of the session is to start: from now on no capsule holds what is here. */
  async begin(sessionId: string, workspaceId: string): Promise<void> {
    await this.#write({ session_id: sessionId, workspace_id: workspaceId, ended_at: null, capsule_id: null });
  }

  /** The session's runner has gone, and this capsule holds what it left. */
  async settled(sessionId: string, capsuleId: string): Promise<void> {
    const copy = await this.#read(sessionId);
    if (copy) await this.#write({ ...copy, capsule_id: capsuleId });
  }

  /** A runner of the session has gone: what it noted in its state says whether a capsule holds what it left. Written in the sandbox, so only its own files are at stake. */
  async left(sessionId: string, state: string): Promise<void> {
    const text = await readFile(join(state, MARKER), "utf8").catch(() => null);
    if (text === null || text.length > 1_000) return;
    const noted = z.object({ capsule_id: idOf("capsule") }).safeParse(JSON.parse(text));
    if (noted.success) await this.settled(sessionId, noted.data.capsule_id);
  }

  /** The session has ended. */
  async ended(sessionId: string, now = new Date()): Promise<void> {
    const copy = await this.#read(sessionId);
    if (copy && copy.ended_at === null) await this.#write({ ...copy, ended_at: now.toISOString() });
  }

  /** Removes the copies of a session at once. Throws where a runner uses them. */
  async discard(sessionId: string, workspaceId: string): Promise<void> {
    const { layout, uses, log } = this.#options;
    const others = (await this.#all()).filter((copy) => copy.workspace_id === workspaceId && copy.session_id !== sessionId && copy.ended_at === null);
    // Looked and put aside in one go: the session may be resumed right now, and what its next runner makes under these names is not ours to remove.
    if (uses(sessionId, workspaceId)) throw new Error(`a runner on this host works on ${workspaceId} or for ${sessionId}: it must end first`);
    const gone = [layout.session(sessionId), ...(others.length === 0 ? [layout.workspace(workspaceId)] : [])].flatMap(aside);
    await remove(gone);
    log.info("files.discarded", { session: sessionId, workspace: workspaceId, ...(others.length > 0 && { kept_for: others.map(({ session_id }) => session_id).join(" ") }) });
  }

  /** Removes what has been kept long enough; what is in no capsule stays, and that is said. */
  async prune(now = Date.now()): Promise<void> {
    const { layout, retentionSeconds, uses, log } = this.#options;
    const copies = await this.#all();
    const plan = expired(copies, now, retentionSeconds, (copy) => uses(copy.session_id, copy.workspace_id));
    const gone = [...plan.sessions.map(({ session_id }) => layout.session(session_id)), ...plan.workspaces.map((id) => layout.workspace(id))].flatMap(aside);
    for (const place of [layout.sessions, layout.workspaces]) gone.push(...(await readdir(place).catch(() => [])).filter((name) => name.includes(GONE)).map((name) => join(place, name)));
    await remove(gone);
    for (const { session_id, workspace_id, ended_at, capsule_id } of plan.sessions) {
      log.info("files.pruned", { session: session_id, workspace: plan.workspaces.includes(workspace_id) ? workspace_id : "kept for another session", ended_at, capsule: capsule_id });
    }
    for (const { session_id, workspace_id, ended_at, capsule_id } of copies) {
      if (ended_at !== null && capsule_id === null && now - Date.parse(ended_at) >= retentionSeconds * 1_000) log.debug("files.kept", { session: session_id, workspace: workspace_id, ended_at, why: "they are in no capsule" });
    }
  }

  async #all(): Promise<HostCopy[]> {
    const names = await readdir(this.#options.layout.sessions).catch(() => []);
    const read = await Promise.all(names.filter((name) => idOf("session").safeParse(name).success).map((name) => this.#read(name)));
    return read.filter((copy) => copy !== null);
  }

  async #read(sessionId: string): Promise<HostCopy | null> {
    const text = await readFile(join(this.#options.layout.session(sessionId), FILE), "utf8").catch(() => null);
    if (text === null) return null;
    try {
      const parsed = kept.safeParse(JSON.parse(text));
      return parsed.success && parsed.data.session_id === sessionId ? parsed.data : null;
    } catch {
      return null;
    }
  }

  async #write(copy: HostCopy): Promise<void> {
    const path = join(this.#options.layout.session(copy.session_id), FILE);
    await writeFile(`${path}.new`, JSON.stringify(copy), { mode: 0o600 });
    await rename(`${path}.new`, path);
  }
}

/** Where the directory lies from now on, under a name that nobody else uses; nothing where it is not there. */
function aside(path: string): string[] {
  const gone = `${path}${GONE}${randomBytes(6).toString("hex")}`;
  try {
    renameSync(path, gone);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
  return [gone];
}

async function remove(paths: readonly string[]): Promise<void> {
  await Promise.all(paths.map((path) => rm(path, { recursive: true, force: true, maxRetries: 3 })));
}
