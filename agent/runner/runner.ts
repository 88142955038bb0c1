/** Owns a whole runner: journal, gate, link and tasks wired together; several may live in one process. */

import { join } from "node:path";
import { Secret } from "../../sdk/protocol/index.ts";
import type { Adapter } from "../adapters/adapter.ts";
import { loadAdapter } from "../adapters/registry.ts";
import { Gate } from "./gate.ts";
import { Journal } from "./journal.ts";
import { FileStore, MemoryStore, type JournalStore } from "./journal-store.ts";
import { Link, type LinkEnd, type LinkTimings } from "./link.ts";
import type { RunnerSpec } from "./spec.ts";
import { Tasks } from "./tasks.ts";

export interface RunnerSecrets {
  api_key?: string | undefined;
}

export interface RunnerOptions {
  spec: RunnerSpec;
  secrets?: RunnerSecrets;
  /** Drives the tasks instead of the adapter that the spec names; may live in this process. */
  adapter?: Adapter;
  /** `memory` keeps no file; by default the journal is a file in the spec's state directory. */
  journal?: "memory" | JournalStore;
  timings?: Partial<LinkTimings>;
  /** Epoch milliseconds. */
  now?: () => number;
  log?: (line: string) => void;
}

export interface Runner {
  /** Resolves when the runner has ended, with the reason; never rejects. */
  readonly ended: Promise<LinkEnd>;
  /** Leaves in order: ends what runs as lost, sends the rest, says goodbye. */
  stop(reason: string): void;
  /** Dies as by SIGKILL, for tests and benches: no goodbye, the journal as it is. Agents of a dead runner live on. */
  kill(): void;
}

/** Recovers from the journal, connects and serves tasks until it is told to stop or refused for good. */
export async function createRunner(options: RunnerOptions): Promise<Runner> {
  const { spec, now = Date.now, log = () => {} } = options;
  const store = options.journal === "memory" ? new MemoryStore() : (options.journal ?? new FileStore(join(spec.state, "journal.jsonl")));
  const journal = new Journal(store, spec);
  const { promise: ended, resolve: end } = Promise.withResolvers<LinkEnd>();
  const stamp = stamps(now);
  const gate = new Gate({
    session_id: spec.session_id,
    place: { workspace: spec.workspace, home: spec.home, forbidden: [spec.state] },
    now,
    grants: journal.grants,
    remember: (grants) => journal.setGrants(grants),
    record(event, pending) {
      const { run } = journal;
      const start = journal.starts.find(({ run_id }) => run_id === run?.run_id);
      if (!run || !start) throw new Error("nothing runs that could ask");
      if (event) void journal.append({ task_id: start.task_id, run_id: start.run_id }, JSON.stringify({ at: stamp(), ...event }));
      journal.setRun({ ...run, pending });
    },
  });
  const { api_key } = options.secrets ?? {};
  const tasks = new Tasks({
    spec, journal, gate, stamp, log,
    apiKey: api_key === undefined || api_key === "" ? null : new Secret(api_key),
    adapter: async () => options.adapter ?? loadAdapter(spec.agent?.adapter ?? "custom"),
  });
  await tasks.recover();

  let leaving = false;
  const leave = async (reason: string, why: "canceled" | "lost") => {
    if (leaving) return;
    leaving = true;
    await tasks.leave(reason, why);
    journal.flush();
    link.finish();
  };
  const link = new Link({
    spec, journal, log,
    ...(options.timings && { timings: options.timings }),
    runId: () => tasks.runId,
    onSettings(settings, changed) {
      gate.update(settings, changed);
      tasks.resume();
    },
    onCommand({ body }) {
      if (body.kind === "stop") void leave(body.reason, "canceled");
      else tasks.handle(body);
    },
    onEnd(reason) {
      // Refused for good: nobody will take what still runs.
      void tasks.leave(reason.reason, "lost").then(() => {
        journal.close();
        end(reason);
      });
    },
  });
  journal.onFault = (fault) => {
    log(`the journal cannot be written: ${fault.message}`);
    tasks.fail(fault);
  };
  link.connect();
  if (journal.stop !== null) void leave(journal.stop, "canceled");
  else if (!options.adapter && spec.agent) void loadAdapter(spec.agent.adapter).catch((error: unknown) => log(`adapter ${spec.agent?.adapter}: ${String(error)}`));

  return {
    ended,
    stop: (reason) => void leave(reason, "lost"),
    kill() {
      link.abandon();
      store.close();
    },
  };
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
