/** Owns the session's two trees in a sandbox, the workspace and the agent's own files below its home: where they lie, and the doors that they are kept through. */

import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ManifestKind } from "../../sdk/protocol/manifest.ts";
import { Secret } from "../../sdk/protocol/secret.ts";
import type { RestoreProgress, RestoreResult } from "../../sdk/workspace/restore.ts";
import type { TreeSync } from "../../sdk/workspace/sync.ts";
import { restoreInThread, syncInThread } from "../workspace/thread.ts";
import { OWN, type RunnerSpec } from "./spec.ts";

const MEBIBYTE = 1_048_576;
/** One request is tried so often before the whole capsule is begun anew, so that a newer one need not wait for it. */
const SYNC_ATTEMPTS = 5;

export interface RestoreTreeOptions {
  manifest_id: string;
  onProgress?: (progress: RestoreProgress) => void;
  signal?: AbortSignal;
}

/** What capsules and restores need of the trees; both kinds may be worked on at once. */
export interface Trees {
  /** Globs of what belongs to the agent's state; where there are none, there is no tree of it. */
  readonly stateFiles: readonly string[];
  sync(kind: ManifestKind, manifestId: string, signal: AbortSignal): TreeSync;
  restore(kind: ManifestKind, options: RestoreTreeOptions): Promise<RestoreResult>;
  /** Whether this host has something of the tree. */
  has(kind: ManifestKind): boolean;
  /** What no capsule holds, whatever is in it. */
  readonly withheld?: { path: string; why: string };
}

/** The trees of a runner's spec, kept through the control plane's doors for its session. */
export function openTrees(spec: RunnerSpec & { workspace_id: string }, stateFiles: readonly string[]): Trees {
  const { workspace_id, session_id, server, run_token, socket, home, workspace, workspace_quota_mb, directory } = spec;
  const token = new Secret(run_token);
  const base = new URL(`/links/workspace/${session_id}/${workspace_id}`, server).href;
  const door = { base, token, sessionId: session_id, ...(socket !== undefined && { socket }) };
  const own = join(home, OWN);
  const indexOf = (kind: ManifestKind) => {
    mkdirSync(own, { recursive: true, mode: 0o700 });
    return join(own, kind === "workspace" ? `${workspace_id}.index` : "state.index");
  };
  // A directory of the host's own is its owner's: an empty one stands for it, so that nothing is ever kept of it or written over it.
  const instead = directory && join(own, "no-workspace");
  if (instead !== undefined) mkdirSync(instead, { recursive: true, mode: 0o700 });
  const rootOf = (kind: ManifestKind) => (kind === "workspace" ? (instead ?? workspace) : home);
  const quota = workspace_quota_mb ? { bytes: workspace_quota_mb * MEBIBYTE } : undefined;
  return {
    stateFiles,
    ...(directory && { withheld: { path: directory.path, why: "a directory of the host's own: its files stay there, as they are" } }),
    sync(kind, manifest_id, signal) {
      const place = kind === "workspace" ? { ...(quota && { quota }) } : { include: stateFiles, outsideLinks: "keep" as const };
      return syncInThread({ root: rootOf(kind), kind, ids: { manifest_id, workspace_id }, door: { ...door, attempts: SYNC_ATTEMPTS }, index: indexOf(kind), signal, ...place });
    },
    restore(kind, { manifest_id, onProgress, signal }) {
      const index = indexOf(kind);
      // Agents can write it: what it says of a file must not keep that file from being restored.
      rmSync(index, { force: true });
      const place = kind === "workspace" ? {} : { extra: "keep" as const, outsideLinks: "keep" as const };
      return restoreInThread({ root: rootOf(kind), manifest: manifest_id, door, index, expect: { kind }, ...place, ...(onProgress && { onProgress }), ...(signal && { signal }) });
    },
    has(kind) {
      const entries = (path: string) => {
        try {
          return readdirSync(path).length;
        } catch {
          return 0;
        }
      };
      return kind === "workspace" ? directory !== undefined || entries(workspace) > 0 : stateFiles.some((path) => entries(join(home, path)) > 0);
    },
  };
}
