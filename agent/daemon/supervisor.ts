/** Owns the runners of this host: starts them, watches them, starts them again, ends them; one at a time per runner. */

import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Resumed, RunnerReport, Spawned, Suspended, SuspendStrategy } from "../../sdk/protocol/index.ts";
import { EXIT } from "../runner/spec.ts";
import { ProviderError, type Provider, type RunningSandbox } from "../providers/provider.ts";
import type { Layout } from "./layout.ts";
import type { Logger } from "./log.ts";
import { displaced, planStart } from "./reconcile.ts";
import type { Records, RunnerRecord } from "./records.ts";
import { openRelay, type Relay } from "./relay.ts";
import { cannot, carryOut, errorOf, missing, waysOf } from "./suspension.ts";
import { described, judge, type RunnerExit } from "./watchdog.ts";

/** At the daemon's end, the last reports are waited for so long and no longer. */
const REPORT_MS = 1_000;

export interface SupervisorOptions {
  layout: Layout;
  records: Records;
  provider: (name: string) => Promise<Provider>;
  server: string;
  log: Logger;
  /** A runner has ended and will not come back. Never rejects. */
  onEnd: (report: RunnerReport) => Promise<void>;
  /** A runner's directories are about to go. */
  onGone: (record: RunnerRecord) => Promise<void>;
}

interface Entry {
  record: RunnerRecord;
  /** `suspended`: its sandbox is frozen, or saved where the record says so. */
  state: "starting" | "running" | "suspended" | "exited";
  exit: RunnerExit | null;
  reason: string | null;
  restarts: number[];
  relay: Relay | null;
  /** Set when its end is wanted, so that nobody starts it again. */
  unwanted: boolean;
  /** Grows with every start; an exit of an earlier one is stale. */
  generation: number;
  work: Promise<unknown>;
  exited: RunningSandbox["exited"] | null;
  told: Promise<void> | null;
  answer: Spawned | null;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #entries = new Map<string, Entry>();
  #closing = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Reports of all runners, also of ended ones until `forget`. */
  reports(): RunnerReport[] {
    return [...this.#entries.values()].filter(({ state }) => state !== "starting").map(reportOf);
  }
  get running(): number {
    return [...this.#entries.values()].filter(({ state }) => state !== "exited").length;
  }

  /** Takes up the runners of an earlier daemon on this directory, and starts again those that died meanwhile. */
  async resume(providers: readonly Provider[]): Promise<void> {
    const { records, log } = this.#options;
    const [known, sandboxes] = await Promise.all([records.all(), Promise.all(providers.map(async (provider) => (await provider.adopt()).map((sandbox) => ({ provider, ...sandbox }))))]);
    const running = sandboxes.flat();
    const plan = planStart(known, running);
    const byId = new Map(running.map((sandbox) => [sandbox.runner_id, sandbox]));
    await Promise.all(running.filter(({ runner_id }) => plan.destroy.includes(runner_id)).map(({ provider, runner_id }) => provider.destroy(runner_id)));
    await Promise.all(
      known.map(async (record) => {
        const sandbox = byId.get(record.runner_id);
        const entry = this.#enter(record);
        await this.#serial(entry, async () => {
          if (plan.saved.includes(record.runner_id)) {
            entry.state = "suspended";
            return log.info("runner.saved", fieldsOf(record));
          }
          log.info(sandbox ? "runner.adopted" : "runner.missing", { ...fieldsOf(record), ...(sandbox?.frozen && { frozen: true }) });
          if (!sandbox) return this.#again(entry, { code: null, signal: null, reason: "it ended while the daemon was away" });
          await this.#openRelay(entry);
          this.#follow(entry, sandbox);
          if (sandbox.frozen) entry.state = "suspended";
        }).catch((error: unknown) => this.#end(entry, { code: null, signal: null, reason: null }, `it could not be started again: ${messageOf(error)}`));
      }),
    );
  }

  /**
   * Starts a runner whose directories and runner.json `prepare` makes; asked again for the same runner, it answers as before.
   * An older attachment of the same session is ended first.
   */
  async spawn(record: RunnerRecord, prepare: () => Promise<{ fresh: boolean }>): Promise<Spawned> {
    const existing = this.#entries.get(record.runner_id);
    if (existing) {
      await existing.work;
      if (existing.answer) return existing.answer;
      return this.#spawned(existing.record);
    }
    const others = [...this.#entries.values()].filter(({ state }) => state !== "exited").map(({ record }) => record);
    if (this.#closing) return refused("host_unavailable", "the host's daemon is stopping");
    if (others.some((other) => other.session_id === record.session_id && other.epoch > record.epoch)) return refused("host_unavailable", "a newer attachment of the session runs here", false);
    const entry = this.#enter(record);
    entry.answer = await this.#serial(entry, async (): Promise<Spawned> => {
      await Promise.all(displaced(others, record).map((id) => this.destroy(id, "displaced by a newer attachment")));
      try {
        const { fresh } = await prepare();
        await Promise.all([this.#options.records.save(record), this.#openRelay(entry)]);
        await this.#start(entry, fresh);
        return await this.#spawned(record);
      } catch (error) {
        this.#options.log.warn("runner.start_failed", { ...fieldsOf(record), error: messageOf(error) });
        await this.#discard(entry);
        if (error instanceof ProviderError) return { ok: false, error: error.run, retryable: error.retryable };
        return refused("provider_failed", `the host could not start the runner: ${messageOf(error)}`);
      }
    });
    return entry.answer;
  }

  async #spawned({ provider, sandbox, isolation }: RunnerRecord): Promise<Spawned> {
    return { ok: true, provider, sandbox, isolation, suspend: (await this.#options.provider(provider)).suspend };
  }

  /** See `Daemon.suspend`. What is held after it is reported as `suspended`; what has ended is forgotten, and the answer says so. */
  async suspend(runnerId: string, strategy: SuspendStrategy, fallback: SuspendStrategy | null): Promise<Suspended> {
    const entry = this.#entries.get(runnerId);
    if (!entry) return missing(strategy);
    return this.#serial(entry, async () => {
      if (this.#entries.get(runnerId) !== entry || entry.state === "exited") return missing(strategy);
      const provider = await this.#options.provider(entry.record.provider);
      const { strategies } = provider.suspend;
      const faults: string[] = [];
      for (const way of waysOf(strategies, strategy, fallback)) {
        const held = entry.record.saved ? "saved" : entry.state === "suspended" ? "frozen" : "running";
        // However it ends now, it is not a crash.
        const unfollowed = way === "pause" ? null : ++entry.generation;
        try {
          const began = performance.now();
          const outcome = await carryOut(provider, runnerId, way, held);
          this.#options.log.info("runner.suspended", { ...fieldsOf(entry.record), strategy: outcome.strategy, detail: outcome.detail, ms: Math.round((performance.now() - began) * 10) / 10 });
          if (outcome.held === "nothing") await this.#discard(entry);
          else await this.#hold(entry, outcome.held === "saved");
          return { ok: true, strategy: outcome.strategy, detail: outcome.detail.slice(0, 1_000) };
        } catch (error) {
          this.#options.log.warn("runner.suspend_failed", { ...fieldsOf(entry.record), strategy: way, error: messageOf(error) });
          faults.push(`${way}: ${messageOf(error)}`);
          if (unfollowed !== null && entry.exited && held !== "saved") this.#follow(entry, { ...entry.record, exited: entry.exited }, entry.state);
        }
      }
      return cannot(provider.name, strategies, strategy, faults);
    });
  }

  async #hold(entry: Entry, saved: boolean): Promise<void> {
    entry.state = "suspended";
    if (!saved || entry.record.saved) return;
    entry.record = { ...entry.record, saved };
    await Promise.all([this.#options.records.save(entry.record), entry.relay?.close()]);
    entry.relay = null;
  }

  /** See `Daemon.resume`. */
  async resumeOne(runnerId: string): Promise<Resumed> {
    const gone: Resumed = { ok: false, gone: true, error: { code: "provider_failed", message: "this host has nothing of the runner any more" } };
    const entry = this.#entries.get(runnerId);
    if (!entry || this.#closing) return gone;
    return this.#serial(entry, async () => {
      if (this.#entries.get(runnerId) !== entry || entry.state === "exited") return gone;
      if (entry.state === "running") return { ok: true };
      const began = performance.now();
      try {
        if (entry.record.saved) await this.#startSaved(entry);
        else if (await (await this.#options.provider(entry.record.provider)).thaw(runnerId)) entry.state = "running";
        else {
          await this.#end(entry, { code: null, signal: null, reason: null }, "it ended while it was suspended");
          return gone;
        }
      } catch (error) {
        this.#options.log.warn("runner.resume_failed", { ...fieldsOf(entry.record), error: messageOf(error) });
        return { ok: false, gone: error instanceof ProviderError && !error.retryable, error: errorOf(error) };
      }
      this.#options.log.info("runner.resumed", { ...fieldsOf(entry.record), ms: Math.round((performance.now() - began) * 10) / 10 });
      return { ok: true };
    });
  }

  async #startSaved(entry: Entry): Promise<void> {
    if (!entry.relay) await this.#openRelay(entry);
    await this.#start(entry, false, true);
    const { saved: _, ...record } = entry.record;
    entry.record = record;
    await this.#options.records.save(record);
  }

  /** Whether a runner that lives here, or is kept, belongs to the session or works on the workspace. */
  uses(sessionId: string, workspaceId: string): boolean {
    return [...this.#entries.values()].some(({ state, record }) => state !== "exited" && (record.session_id === sessionId || record.workspace_id === workspaceId));
  }

  /** Ends a runner and forgets it; unknown ids are fine. */
  async destroy(runnerId: string, reason: string): Promise<void> {
    const entry = this.#entries.get(runnerId);
    if (!entry) return;
    entry.unwanted = true;
    await this.#serial(entry, async () => {
      if (!this.#entries.has(runnerId)) return;
      const provider = await this.#options.provider(entry.record.provider);
      entry.generation++;
      await provider.destroy(runnerId);
      this.#options.log.info("runner.destroyed", { ...fieldsOf(entry.record), reason });
      await this.#discard(entry);
    });
  }

  /** Drops what is kept of ended runners whose report has arrived. */
  async forget(runnerId: string): Promise<void> {
    const entry = this.#entries.get(runnerId);
    if (entry?.state === "exited") await this.#serial(entry, () => this.#discard(entry));
  }

  /** Lets go of the runners, which live on. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#entries.values()].map(async (entry) => {
      await entry.work;
      entry.generation++;
      await entry.relay?.close();
    }));
  }

  /** Stops every runner in order, within the grace; what did not end in order is found and started again on its journal by the next daemon. */
  async stop(graceSeconds: number): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#entries.values()].map(async (entry) => {
      await entry.work;
      // What was saved waits for the next daemon; what is frozen ends like what runs.
      if (entry.state === "exited" || entry.record.saved) return;
      const provider = await this.#options.provider(entry.record.provider);
      entry.generation++;
      const stopped = await provider.stop(entry.record.runner_id, graceSeconds);
      const exit = stopped ? await entry.exited : null;
      await provider.destroy(entry.record.runner_id);
      // Everything that it had to tell has been heard: there is nothing to come back for.
      if (exit?.code !== EXIT.stopped) return entry.relay?.close();
      await this.#end(entry, exit, "stopped in order");
      await Promise.race([entry.told, pause(REPORT_MS, undefined, { ref: false })]);
    }));
  }

  #enter(record: RunnerRecord): Entry {
    const entry: Entry = { record, state: "starting", exit: null, reason: null, restarts: [], relay: null, unwanted: false, generation: 0, work: Promise.resolve(), exited: null, told: null, answer: null };
    this.#entries.set(record.runner_id, entry);
    return entry;
  }

  #serial<T>(entry: Entry, work: () => Promise<T>): Promise<T> {
    const next = entry.work.then(work);
    entry.work = next.catch(() => {});
    return next;
  }

  async #start(entry: Entry, fresh: boolean, saved = false): Promise<void> {
    const { record } = entry;
    const provider = await this.#options.provider(record.provider);
    const directories = this.#options.layout.directories(record);
    const began = performance.now();
    const sandbox = await provider.start({ ...record, directories, fresh, saved, ...(record.directory && { owner: record.directory.owner }) });
    this.#options.log.info("runner.started", { ...fieldsOf(record), ms: Math.round((performance.now() - began) * 10) / 10 });
    this.#follow(entry, sandbox);
  }

  #follow(entry: Entry, sandbox: Pick<RunningSandbox, "exited">, state: Entry["state"] = "running"): void {
    const generation = ++entry.generation;
    entry.state = state;
    entry.exited = sandbox.exited;
    void sandbox.exited.then((exit) =>
      this.#serial(entry, async () => {
        if (entry.generation !== generation || entry.unwanted) return;
        // Nobody waits for it now: whoever resumes it is told, and goes on from the capsule.
        if (entry.state === "suspended") {
          await (await this.#options.provider(entry.record.provider)).destroy(entry.record.runner_id);
          return this.#end(entry, exit, `it ended while it was suspended, ${described(exit)}`);
        }
        await this.#again(entry, exit);
      }).catch((error: unknown) => this.#end(entry, exit, `it could not be started again: ${messageOf(error)}`)),
    );
  }

  async #again(entry: Entry, exit: RunnerExit): Promise<void> {
    const { log } = this.#options;
    const provider = await this.#options.provider(entry.record.provider);
    const verdict = judge(entry.restarts, exit, Date.now());
    const output = exit.code === 0 ? "" : (await provider.output(entry.record.runner_id, 500)).trim();
    if (verdict.action === "end") {
      await provider.destroy(entry.record.runner_id);
      return this.#end(entry, exit, output === "" ? verdict.reason : `${verdict.reason}; its last words: ${output}`);
    }
    if (this.#closing) return;
    log.warn("runner.crashed", { ...fieldsOf(entry.record), exit: described(exit), restart: verdict.restarts.length, delay_ms: verdict.delay_ms, output });
    entry.restarts = verdict.restarts;
    if (verdict.delay_ms > 0) await pause(verdict.delay_ms);
    // Destroyed or closed during the wait: both come after us in line and do the rest.
    if (entry.unwanted || this.#closing) return;
    try {
      if (!entry.relay) await this.#openRelay(entry);
      await this.#start(entry, false);
    } catch (error) {
      // An engine that restarts is away for a moment: that counts like a crash, not as the end.
      if (!(error instanceof ProviderError && error.retryable)) throw error;
      await this.#again(entry, { code: null, signal: null, reason: error.message });
    }
  }

  async #end(entry: Entry, exit: RunnerExit, reason: string): Promise<void> {
    entry.state = "exited";
    entry.exit = exit;
    entry.reason = reason;
    await entry.relay?.close();
    entry.relay = null;
    this.#options.log.info("runner.ended", { ...fieldsOf(entry.record), exit_code: exit.code, reason });
    // Not awaited here: whoever hears it may at once want the runner forgotten, and stands in line behind us.
    entry.told = this.#options.onEnd(reportOf(entry));
  }

  async #openRelay(entry: Entry): Promise<void> {
    const provider = await this.#options.provider(entry.record.provider);
    const directories = this.#options.layout.directories(entry.record);
    if (provider.view(directories).socket === undefined) return;
    entry.relay = await openRelay(join(directories.state, "relay.sock"), this.#options.server, entry.record.session_id);
  }

  async #discard(entry: Entry): Promise<void> {
    await entry.relay?.close();
    entry.relay = null;
    this.#entries.delete(entry.record.runner_id);
    await this.#options.onGone(entry.record).catch((error: unknown) => this.#options.log.warn("runner.leftovers_unread", { ...fieldsOf(entry.record), error: messageOf(error) }));
    await this.#options.records.remove(entry.record.runner_id);
  }
}

function reportOf({ record, state, exit, reason }: Entry): RunnerReport {
  return {
    runner_id: record.runner_id, session_id: record.session_id, epoch: record.epoch, provider: record.provider, sandbox: record.sandbox, isolation: record.isolation,
    state: state === "starting" ? "running" : state, exit_code: exit?.code ?? null, reason: reason === null ? null : reason.slice(0, 1_000),
  };
}

const fieldsOf = (record: RunnerRecord) => ({ runner: record.runner_id, session: record.session_id, epoch: record.epoch, provider: record.provider });
const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

function refused(code: "host_unavailable" | "provider_failed", message: string, retryable = true): Spawned {
  return { ok: false, error: { code, message: message.slice(0, 4_096) }, retryable };
}
