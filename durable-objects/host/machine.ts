/** Owns the host's machine: what the daemon said of its machine, and which runners are wanted there. Pure: `step(state, event, now)`. */

import type { Host, HostInfo, Runner, RunnerReport, SandboxKind, Spawned } from "../../sdk/protocol/index.ts";
import type { HostJoin } from "../rpc.ts";

/** The version of a destroyed runner's row: its session counts the versions before, and after this one comes none. */
export const FINAL_VERSION = 1_000_000_000;
/** Most sessions whose secrets are still to be forgotten; a daemon holds them in memory, so a restart of it forgets all. */
const MAX_FORGETS = 10_000;

/** A runner that is wanted here. Nothing of it is secret. */
export interface WantedRunner {
  runner_id: string;
  session_id: string;
  epoch: number;
  provider: string;
  sandbox: SandboxKind | null;
  isolation: string | null;
  /** The daemon has said that it runs. Before, the session is answered by its own call. */
  started: boolean;
  /** Frozen or saved for a suspended session. */
  suspended: boolean;
  created_at: string;
}

export interface State {
  join: HostJoin | null;
  info: HostInfo | null;
  online: boolean;
  draining: boolean;
  clock_skew_ms: number | null;
  created_at: string;
  last_seen_at: string;
  /** Of the host's row. */
  version: number;
  runners: ReadonlyMap<string, WantedRunner>;
  /** Ended sessions whose secrets the daemon may still hold. */
  forgets: readonly string[];
  /** Files that are to go as soon as no runner uses them. */
  discards: readonly Discard[];
}

export interface Discard {
  session_id: string;
  workspace_id: string;
}

export const NO_HOST: State = { join: null, info: null, online: false, draining: false, clock_skew_ms: null, created_at: "", last_seen_at: "", version: 0, runners: new Map(), forgets: [], discards: [] };

export type HostEvent =
  | { type: "hello"; join: HostJoin; info: HostInfo; reports: readonly RunnerReport[]; clock?: string | undefined }
  | { type: "report"; report: RunnerReport }
  | { type: "update"; info: HostInfo }
  | { type: "link.down" }
  | { type: "drain"; draining: boolean }
  | { type: "spawn"; runner_id: string; session_id: string; epoch: number; provider: string | null }
  | { type: "spawned"; runner_id: string; answer: Spawned }
  /** The daemon holds the runner, or lets it go on. */
  | { type: "held"; runner_id: string; suspended: boolean }
  /** The daemon has ended the runner itself, as its session asked: nobody need be told. */
  | { type: "ended"; runner_id: string; reason: string }
  | { type: "destroy"; runner_id: string; reason: string }
  | { type: "discard"; session_id: string; workspace_id: string }
  | { type: "discarded"; session_id: string }
  | { type: "forget"; session_id: string }
  | { type: "forgotten"; session_id: string };

export type Effect =
  /** Which of the reported runners must go. */
  | { kind: "welcome"; destroy: string[] }
  /** The pool must hear how the host is now. */
  | { kind: "member" }
  /** The host has moved to another pool. */
  | { kind: "leave"; tenant_id: string; pool: string }
  | { kind: "gone"; session_id: string; epoch: number; runner_id: string; reason: string }
  | { kind: "host.row"; value: Host }
  | { kind: "runner.row"; value: Runner }
  | { kind: "daemon.destroy"; runner_id: string; reason: string }
  | { kind: "daemon.discard"; session_id: string; workspace_id: string }
  | { kind: "daemon.forget"; session_id: string };

export interface Step {
  state: State;
  effects: Effect[];
  /** Runners whose rows changed or went. */
  touched: ReadonlySet<string>;
}

/** The host as clients see it; null before its daemon has ever said hello. */
export function hostOf(state: State): Host | null {
  const { join, info } = state;
  if (!join || !info) return null;
  return {
    ...info, id: join.host_id, tenant_id: join.tenant_id, status: !state.online ? "offline" : state.draining ? "draining" : "online",
    daemon_version: info.version, runners: state.runners.size, ...(state.clock_skew_ms !== null && { clock_skew_ms: state.clock_skew_ms }), created_at: state.created_at, last_seen_at: state.last_seen_at, version: state.version,
  };
}

/** The runners that the daemon has said to run, or to hold. */
export function running(state: State): RunnerReport[] {
  return [...state.runners.values()].flatMap(({ runner_id, session_id, epoch, provider, sandbox, isolation, started, suspended }) =>
    started ? [{ runner_id, session_id, epoch, provider, sandbox, isolation, state: suspended ? "suspended" : "running", exit_code: null, reason: null }] : [],
  );
}

/** What the token says of pool and labels holds; the daemon's own word only adds to it. */
function joined(info: HostInfo, join: HostJoin): HostInfo {
  return { ...info, pool: join.pool, labels: { ...info.labels, ...join.labels } };
}

class Turn {
  state: State;
  readonly effects: Effect[] = [];
  readonly touched = new Set<string>();
  readonly at: string;
  #runners: Map<string, WantedRunner> | null = null;

  constructor(state: State, now: number) {
    this.state = state;
    this.at = new Date(now).toISOString();
  }
  set(patch: Partial<State>): void {
    this.state = { ...this.state, ...patch };
  }
  get(runnerId: string): WantedRunner | undefined {
    return this.state.runners.get(runnerId);
  }
  put(runner: WantedRunner): void {
    this.#write(runner.runner_id).set(runner.runner_id, runner);
  }
  #write(runnerId: string): Map<string, WantedRunner> {
    this.touched.add(runnerId);
    if (!this.#runners) this.set({ runners: (this.#runners = new Map(this.state.runners)) });
    return this.#runners;
  }
  /** The runner is not wanted any more; its row says that it has ended. */
  remove(runner: WantedRunner, reason: string | null): void {
    this.#write(runner.runner_id).delete(runner.runner_id);
    // What could not be removed while it ran may go now.
    for (const discard of this.state.discards) if (discard.session_id === runner.session_id) this.effects.push({ kind: "daemon.discard", ...discard });
    const { join } = this.state;
    if (!join || !runner.started) return;
    const { runner_id: id, session_id, epoch, provider, sandbox, isolation, created_at } = runner;
    this.effects.push({
      kind: "runner.row",
      value: { id, tenant_id: join.tenant_id, session_id, host_id: join.host_id, pool: join.pool, provider, sandbox, isolation, epoch, status: "destroyed", status_reason: reason, created_at, ended_at: this.at, version: FINAL_VERSION },
    });
  }
  gone(runner: WantedRunner, reason: string): void {
    this.remove(runner, reason);
    this.effects.push({ kind: "gone", session_id: runner.session_id, epoch: runner.epoch, runner_id: runner.runner_id, reason });
  }
  /** An older attachment of the same session must not work beside a newer one. */
  displace(next: { session_id: string; epoch: number; runner_id: string }): void {
    for (const other of this.state.runners.values()) {
      if (other.session_id !== next.session_id || other.runner_id === next.runner_id || other.epoch > next.epoch) continue;
      this.remove(other, "displaced by a newer attachment");
      this.effects.push({ kind: "daemon.destroy", runner_id: other.runner_id, reason: "displaced by a newer attachment" });
    }
  }
}

/** The next state and what must be done. Unknown runners and repeated events are fine. */
export function step(state: State, event: HostEvent, now: number): Step {
  const turn = new Turn(state, now);
  take(turn, event);
  const before = hostOf(state);
  const after = hostOf(turn.state);
  if (after && JSON.stringify(before) !== JSON.stringify(after)) {
    turn.set({ version: state.version + 1 });
    turn.effects.push({ kind: "host.row", value: { ...after, version: turn.state.version } });
  }
  return { state: turn.state, effects: turn.effects, touched: turn.touched };
}

function take(turn: Turn, event: HostEvent): void {
  switch (event.type) {
    case "hello": return hello(turn, event);
    case "report": return report(turn, event.report);
    case "update": {
      const { join, online } = turn.state;
      if (!join || !online) return;
      turn.set({ info: joined(event.info, join), last_seen_at: turn.at });
      turn.effects.push({ kind: "member" });
      return;
    }
    case "link.down":
      if (!turn.state.online) return;
      turn.set({ online: false, last_seen_at: turn.at });
      turn.effects.push({ kind: "member" });
      return;
    case "drain":
      if (turn.state.draining === event.draining) return;
      turn.set({ draining: event.draining });
      if (turn.state.online) turn.effects.push({ kind: "member" });
      return;
    case "spawn": {
      // The session is back: its files stay.
      if (turn.state.discards.some(({ session_id }) => session_id === event.session_id)) turn.set({ discards: turn.state.discards.filter(({ session_id }) => session_id !== event.session_id) });
      turn.displace(event);
      if (turn.get(event.runner_id)) return;
      const { runner_id, session_id, epoch } = event;
      turn.put({ runner_id, session_id, epoch, provider: event.provider ?? turn.state.info?.default_provider ?? "", sandbox: null, isolation: null, started: false, suspended: false, created_at: turn.at });
      return;
    }
    case "spawned": {
      const runner = turn.get(event.runner_id);
      if (!runner) return;
      if (event.answer.ok) {
        const { provider, sandbox, isolation } = event.answer;
        turn.put({ ...runner, provider, sandbox, isolation, started: true });
      } else if (!runner.started) turn.remove(runner, event.answer.error.message);
      return;
    }
    case "held": {
      const runner = turn.get(event.runner_id);
      if (runner && runner.suspended !== event.suspended) turn.put({ ...runner, suspended: event.suspended });
      return;
    }
    case "ended": {
      const runner = turn.get(event.runner_id);
      if (runner) turn.remove(runner, event.reason);
      return;
    }
    case "destroy": {
      const runner = turn.get(event.runner_id);
      if (runner) turn.remove(runner, event.reason);
      // Unheard, it is destroyed at the next hello, which reports it as one that nobody wants.
      turn.effects.push({ kind: "daemon.destroy", runner_id: event.runner_id, reason: event.reason });
      return;
    }
    case "discard": {
      const { session_id, workspace_id } = event;
      if (!turn.state.discards.some((known) => known.session_id === session_id)) turn.set({ discards: [...turn.state.discards, { session_id, workspace_id }].slice(-MAX_FORGETS) });
      turn.effects.push({ kind: "daemon.discard", session_id, workspace_id });
      return;
    }
    case "discarded":
      turn.set({ discards: turn.state.discards.filter(({ session_id }) => session_id !== event.session_id) });
      return;
    case "forget":
      if (!turn.state.forgets.includes(event.session_id)) turn.set({ forgets: [...turn.state.forgets, event.session_id].slice(-MAX_FORGETS) });
      turn.effects.push({ kind: "daemon.forget", session_id: event.session_id });
      return;
    case "forgotten":
      turn.set({ forgets: turn.state.forgets.filter((id) => id !== event.session_id) });
      return;
  }
}

/** Desired meets actual: what runs and is wanted is adopted, what is not wanted must go, what is wanted and not there is lost. */
function hello(turn: Turn, { join, info, reports, clock }: Extract<HostEvent, { type: "hello" }>): void {
  const old = turn.state.join;
  if (old && old.pool !== join.pool) turn.effects.push({ kind: "leave", tenant_id: old.tenant_id, pool: old.pool });
  const clock_skew_ms = clock === undefined ? null : Date.parse(clock) - Date.parse(turn.at);
  turn.set({ join, info: joined(info, join), online: true, clock_skew_ms, last_seen_at: turn.at, created_at: turn.state.created_at || turn.at });
  const destroy: string[] = [];
  for (const each of reports) {
    if (turn.get(each.runner_id)) report(turn, each);
    else if (each.state !== "exited") destroy.push(each.runner_id);
  }
  const there = new Set(reports.map(({ runner_id }) => runner_id));
  for (const runner of turn.state.runners.values()) if (runner.started && !there.has(runner.runner_id)) turn.gone(runner, "its host does not have it any more");
  turn.effects.push({ kind: "welcome", destroy }, { kind: "member" });
  for (const session_id of turn.state.forgets) turn.effects.push({ kind: "daemon.forget", session_id });
  for (const discard of turn.state.discards) turn.effects.push({ kind: "daemon.discard", ...discard });
}

function report(turn: Turn, said: RunnerReport): void {
  const runner = turn.get(said.runner_id);
  if (!runner) return;
  turn.set({ last_seen_at: turn.at });
  if (said.state === "exited") return turn.gone(runner, said.reason ?? (said.exit_code === null ? "it ended" : `it ended with exit code ${said.exit_code}`));
  turn.put({ ...runner, provider: said.provider, sandbox: said.sandbox, isolation: said.isolation, started: true, suspended: said.state === "suspended" });
}
