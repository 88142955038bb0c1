/** Owns what serves the tasks: gate, task loop, capsules, adapter, reader of messages. It is loaded while hello is on its way to the session. */

import { join } from "node:path";

import type { Adapter, GatewayAccess } from "../adapters/adapter.ts";
import { loadAdapter } from "../adapters/registry.ts";
import type { RunError } from "../../sdk/protocol/task.ts";
import { Capsules } from "./capsules.ts";
import { Gate } from "./gate.ts";
import { QuotaWatch } from "./quota.ts";
import { openGateway } from "./gateway.ts";
import type { Journal } from "./journal.ts";
import { OWN, type RunnerSpec } from "./spec.ts";
import { Tasks } from "./tasks.ts";
import type { Trees } from "./trees.ts";
import { readMessage, type Received } from "./wire.ts";

/** Version of the link since which a session understands capsules. */
const CAPSULES_SINCE = 3;

export interface ServiceOptions {
  spec: RunnerSpec;
  journal: Journal;
  adapter: Adapter | undefined;
  now: () => number;
  /** Version of the link that the session speaks. */
  version: () => number | null;
  log: (line: string) => void;
}

export interface Service {
  gate: Gate;
  tasks: Tasks;
  readMessage: (text: string) => Received[];
}

/** Wires gate and task loop to the journal; the adapter is loaded at once where there is one to load. */
export function createService({ spec, journal, adapter, now, log, version }: ServiceOptions): Service {
  const stamp = stamps(now);
  const gate = new Gate({
    session_id: spec.session_id,
    place: { workspace: spec.workspace, home: spec.home, forbidden: [spec.state, join(spec.home, OWN)] },
    now,
    record(event, pending) {
      const { run } = journal;
      const start = journal.starts.find(({ run_id }) => run_id === run?.run_id);
      if (!run || !start) throw new Error("nothing runs that could ask");
      if (event) void journal.append({ task_id: start.task_id, run_id: start.run_id }, JSON.stringify({ at: stamp(), ...event }));
      journal.setRun({ ...run, pending });
      tasks.asking(pending.length > 0);
    },
  });
  const load = async () => adapter ?? loadAdapter(spec.agent?.adapter ?? "custom");
  if (spec.agent) load().catch((error: unknown) => log(`the adapter ${spec.agent?.adapter} cannot be loaded: ${String(error)}`));
  let access: Promise<GatewayAccess | null> | null = null;
  const gateway = () => (access ??= openGateway(spec));
  let broken: RunError | null = null;
  const { workspace_id } = spec;
  let opened: Promise<Trees> | null = null;
  // Loaded when they are first needed: not every runner has files to keep.
  const trees = (id: string) => (opened ??= Promise.all([import("./trees.ts"), load()]).then(([{ openTrees }, driver]) => openTrees({ ...spec, workspace_id: id }, spec.agent ? [...new Set([...driver.stateFiles(spec.agent), ...(spec.agent.state_files ?? [])])] : [])));
  const capsules = workspace_id === undefined ? null : new Capsules({ session_id: spec.session_id, state: spec.state, journal, stamp, now, log, trees: () => trees(workspace_id), understood: () => (version() ?? 0) >= CAPSULES_SINCE });
  const { workspace: root, workspace_quota_mb: quotaMb } = spec;
  const quota = quotaMb ? new QuotaWatch({ bytes: quotaMb * 1_048_576, log, measure: async (signal) => (await import("../workspace/thread.ts")).measureInThread({ root, signal }) }) : null;
  const tasks: Tasks = new Tasks({ spec, quota, journal, gate, stamp, log, gateway, adapter: load, capsules, broken: () => broken });
  const { restore: order } = spec;
  if (order && workspace_id !== undefined) {
    void import("./restore.ts").then(async ({ restore }) => {
      broken = await restore({ order, state: spec.state, journal, stamp, log, trees: () => trees(workspace_id) });
      tasks.ready();
    });
  } else tasks.ready();
  return { gate, tasks, readMessage };
}

/** RFC 3339 times, formatted once a millisecond. */
function stamps(now: () => number): () => string {
  let at = Number.NaN;
  let text = "";
  return () => {
    const current = now();
    if (current !== at) {
      at = current;
      text = new Date(current).toISOString();
    }
    return text;
  };
}
