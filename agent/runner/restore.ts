/** Owns bringing a session's trees back before its first task: what is restored, what the host has already, and what is said of it. */

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RestoreOrder } from "../../sdk/protocol/capsule.ts";
import type { EventData } from "../../sdk/protocol/event.ts";
import type { ManifestKind } from "../../sdk/protocol/manifest.ts";
import type { RunError } from "../../sdk/protocol/task.ts";
import type { RestoreResult } from "../../sdk/workspace/restore.ts";
import { encode, type Unstamped } from "./bounds.ts";
import type { Journal } from "./journal.ts";
import { treeError } from "./tree-error.ts";
import type { Trees } from "./trees.ts";

/** In the state directory: this runner has restored already, and a later life of it must not do so again. */
const DONE = "restored.json";
/** A restore that takes longer says how far it is, this often, ms. */
const PROGRESS_MS = 2_000;

export interface RestoreParts {
  order: RestoreOrder;
  state: string;
  journal: Journal;
  stamp: () => string;
  log: (line: string) => void;
  trees: () => Promise<Trees>;
}

/** Restores as ordered, once in a runner's life; null where the trees are as they should be, else why the session's tasks cannot run. Never rejects. */
export async function restore({ order, state, journal, stamp, log, trees: open }: RestoreParts): Promise<RunError | null> {
  const marker = join(state, DONE);
  if (existsSync(marker)) return null;
  const began = performance.now();
  const record = (event: Unstamped) => {
    for (const item of encode(event, stamp(), false)) void journal.append(null, item);
  };
  let told = began;
  const restoreOne = (trees: Trees, kind: ManifestKind, manifest_id: string) =>
    trees.restore(kind, {
      manifest_id,
      onProgress({ phase, bytes, total_bytes, files, total_files }) {
        if (performance.now() - told < PROGRESS_MS) return;
        told = performance.now();
        const fraction = total_bytes > 0 ? Math.min(1, bytes / total_bytes) : 0;
        record({ type: "progress", data: { text: `restoring the ${kind === "workspace" ? "workspace" : "agent's files"}: ${phase}, ${files} of ${total_files} files`, fraction } });
      },
    });
  try {
    const trees = await open();
    const { mode, capsule_id, workspace_manifest_id, state_manifest_id } = order;
    const wanted = (kind: ManifestKind) => mode === "exact" || !trees.has(kind);
    // The conversation first: where it fails, the larger tree is still the old one.
    const agent = state_manifest_id !== null && trees.stateFiles.length > 0 && wanted("state") ? await restoreOne(trees, "state", state_manifest_id) : null;
    const workspace = wanted("workspace") ? await restoreOne(trees, "workspace", workspace_manifest_id) : null;
    writeFileSync(marker, JSON.stringify({ capsule_id }), { mode: 0o600 });
    const kept = workspace === null && agent === null;
    record({
      type: "workspace.restored",
      data: {
        capsule_id, workspace: summary(workspace, workspace_manifest_id), state: state_manifest_id === null ? null : summary(agent, state_manifest_id), kept, duration_ms: Math.round(performance.now() - began),
      },
    });
    return null;
  } catch (error) {
    const why = treeError(error, "restore_failed");
    log(`the session's files cannot be restored: ${why.message}`);
    record({ type: "workspace.restore_failed", data: { capsule_id: order.capsule_id, error: why } });
    return why;
  }
}

/** Where the host had the tree already, nobody has counted it. */
function summary(result: RestoreResult | null, manifest_id: string): EventData<"workspace.restored">["workspace"] {
  return result ? { manifest_id, files: result.header.files, bytes: result.header.bytes, sent_bytes: 0 } : { manifest_id, files: 0, bytes: 0, sent_bytes: 0 };
}
