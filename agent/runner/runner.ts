/** Owns a whole runner: journal and link first, so that hello is said early, then what serves the tasks; several runners may live in one process. */

import { join } from "node:path";
import type { Adapter } from "../adapters/adapter.ts";
import { continuesTurns } from "../adapters/registry.ts";
import { Journal } from "./journal.ts";
import { FileStore, MemoryStore, type JournalStore } from "./journal-store.ts";
import { Link, type LinkEnd, type LinkTimings } from "./link.ts";
import type { Service } from "./service.ts";
import type { RunnerSpec } from "./spec.ts";

export interface RunnerOptions {
  spec: RunnerSpec;
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
  /** The sandbox was frozen and goes on. */
  woken(): void;
  /** Leaves in order: ends what runs as lost, sends the rest, says goodbye. */
  stop(reason: string): void;
  /** Dies as by SIGKILL, for tests and benches: no goodbye, the journal as it is. Agents of a dead runner live on. */
  kill(): void;
}

/** Recovers from the journal, connects and serves tasks until it is told to stop or refused for good. */
export async function createRunner(options: RunnerOptions): Promise<Runner> {
  const { spec, now = Date.now, log = () => {} } = options;
  const store = options.journal === "memory" ? new MemoryStore() : (options.journal ?? new FileStore(join(spec.state, "journal.jsonl")));
  const journal = await Journal.open(store, spec);
  const { promise: ended, resolve: end } = Promise.withResolvers<LinkEnd>();

  let service: Service | null = null;
  const serve = async (): Promise<Service> => {
    const { createService } = await import("./service.ts");
    return (service ??= createService({ spec, journal, now, log, adapter: options.adapter, version: () => link.version }));
  };
  // What an earlier life left running is ended before anything else begins.
  if (journal.run || journal.starts.length > 0) await (await serve()).tasks.recover();

  let leaving = false;
  const leave = async (reason: string, why: "canceled" | "lost") => {
    if (leaving) return;
    leaving = true;
    await service?.tasks.leave(reason, why);
    journal.flush();
    link.finish();
  };
  const link = new Link({
    spec, journal, log, continues: spec.agent !== null && continuesTurns(spec.agent),
    ...(options.timings && { timings: options.timings }),
    runId: () => service?.tasks.runId ?? null,
    prepare: async () => (await serve()).readMessage,
    onSettings(settings, changed) {
      service?.gate.update(settings, changed);
      if (!leaving) service?.tasks.resume();
    },
    onCommand({ body }) {
      if (body.kind === "stop") void leave(body.reason, "canceled");
      else service?.tasks.handle(body);
    },
    onEnd(reason) {
      // Refused for good: nobody will take what still runs.
      void Promise.resolve(service?.tasks.leave(reason.reason, "lost")).then(() => {
        journal.close();
        end(reason);
      });
    },
  });
  journal.onFault = (fault, again) => {
    if (!again) log(`the journal cannot be written: ${fault.message}`);
    service?.tasks.fail(fault);
  };
  link.connect();
  if (journal.stop !== null) void leave(journal.stop, "canceled");

  return {
    ended,
    woken() {
      service?.tasks.woken();
      link.renew();
    },
    stop: (reason) => void leave(reason, "lost"),
    kill() {
      link.abandon();
      journal.abandon();
    },
  };
}
