/** Owns a run of chaos: faults picked at random from a seed and struck while sessions work, recoveries timed, and the verdict on everything. */

import { setTimeout as delay } from "node:timers/promises";
import { linesOf, storedLog } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import { chance, type Chance } from "../support/random.ts";
import { FAULTS, keptJournals, type Fault } from "./faults.ts";
import { staleRows, verdictOn } from "./invariants.ts";
import { startStage, type Stage } from "./stage.ts";

export interface ChaosOptions {
  kills: number;
  seed: number;
  sessions: number;
  /** Ends the run though not all is struck. */
  minutes?: number | undefined;
  /** Names of faults; absent: all that are not slow, or all (`slow`). */
  faults?: readonly string[] | undefined;
  slow: boolean;
  docker: boolean;
  signal?: AbortSignal | undefined;
  /** Lines for people: what is struck, what does not hold. */
  say: (line: string) => void;
  progress?: (done: ChaosProgress) => void;
}
export interface ChaosProgress {
  struck: number;
  of: number;
  open: number;
  last: string;
  events: number;
  elapsed_ms: number;
}

export interface FaultFigures {
  name: string;
  what: string;
  struck: number;
  survived: number;
  /** Milliseconds from the fault until the sessions that it hit were seen to work again. */
  recovery: number[];
  /** Why it was not struck, in words. */
  lacks: string | null;
}
export interface ChaosReport {
  seed: number;
  struck: number;
  faults: FaultFigures[];
  sessions: number;
  tasks: number;
  runs: Record<string, number>;
  events: number;
  permissions: number;
  elapsed_ms: number;
  /** What does not hold, in words; empty: everything does. */
  broken: string[];
}

/** Faults whose recovery is still waited for. */
const OPEN = 5;
const PAUSE_MS = 300;
/** Longer than a host takes whose dead daemon only its silence tells of. */
const RECOVERY_MS = 300_000;
/** What every task writes. */
const LINES = 100;

/** Picks by weight. */
function pick(faults: readonly Fault[], random: Chance): Fault {
  let at = random.below(faults.reduce((sum, { weight }) => sum + weight, 0));
  for (const fault of faults) if ((at -= fault.weight) < 0) return fault;
  throw new Error("no faults to pick from");
}

export async function chaos(options: ChaosOptions): Promise<ChaosReport> {
  const random = chance(options.seed);
  const unknown = options.faults?.filter((name) => !FAULTS.some((fault) => fault.name === name)) ?? [];
  if (unknown.length > 0) throw new Error(`no fault of that name: ${unknown.join(", ")}; there are ${FAULTS.map(({ name }) => name).join(", ")}`);
  const begun = performance.now();
  const stage = await startStage({ sessions: options.sessions, prompt: { lines: LINES, ms: 4, ask: true }, docker: options.docker, say: options.say });
  try {
    return await run(stage, random, options, begun);
  } finally {
    await stage.close();
  }
}

async function run(stage: Stage, random: Chance, options: ChaosOptions, begun: number): Promise<ChaosReport> {
  const { kills, signal, say } = options;
  const wanted = FAULTS.filter(({ name, slow }) => (options.faults ? options.faults.includes(name) : options.slow || !slow));
  const figures = new Map(wanted.map((fault): [Fault, FaultFigures] => [fault, { name: fault.name, what: fault.what, struck: 0, survived: 0, recovery: [], lacks: fault.lacks?.(stage) ?? null }]));
  const faults = wanted.filter((fault) => figures.get(fault)?.lacks === null);
  if (faults.length === 0) throw new Error(`none of these faults can be struck here: ${[...figures.values()].map(({ name, lacks }) => `${name} (${lacks})`).join(", ")}`);
  const broken: string[] = [];
  const open = new Set<Promise<void>>();
  let alone: Promise<void> | null = null;
  let struck = 0;
  const end = options.minutes === undefined ? Number.POSITIVE_INFINITY : begun + options.minutes * 60_000;
  const tell = (last: string) => options.progress?.({ struck, of: kills, open: open.size, last, events: stage.subjects.reduce((sum, { sse }) => sum + sse.events.length, 0), elapsed_ms: performance.now() - begun });

  await eventually("every session works", () => stage.subjects.every(({ sse }) => sse.events.some(({ type }) => type === "log")), 120_000);
  const ended = () => struck >= kills || performance.now() >= end || (signal?.aborted ?? false);
  while (!ended()) {
    await delay(random.below(PAUSE_MS));
    while (open.size >= OPEN) await Promise.race(open);
    const fault = pick(faults, random);
    // One of these is open for long now and then: something else is struck meanwhile.
    if (fault.alone && alone) continue;
    const at = performance.now();
    const hit = await fault.strike(stage, random);
    if (!hit) continue;
    const figure = figures.get(fault) as FaultFigures;
    figure.struck++;
    struck++;
    tell(`${fault.name}: ${hit.what}`);
    const over = new AbortController();
    const patience = delay(RECOVERY_MS, undefined, { signal: over.signal }).then(() => {
      throw new Error(`has not recovered within ${RECOVERY_MS / 1_000} s`);
    });
    const recovery = Promise.race([hit.recovered, patience]).then(
      () => {
        figure.survived++;
        figure.recovery.push(performance.now() - at);
      },
      async (error: unknown) => {
        broken.push(`${fault.name} (${hit.what}): ${error instanceof Error ? error.message : String(error)}`);
        say(broken.at(-1) ?? "");
        for (const each of await stage.stuck().catch(() => [])) say(`  ${each}`);
      },
    ).finally(() => {
      over.abort();
      open.delete(recovery);
      if (alone === recovery) alone = null;
      tell(`${fault.name}: over`);
    });
    patience.catch(() => {});
    open.add(recovery);
    if (fault.alone) alone = recovery;
  }
  await Promise.all(open);
  tell("all is repaired; the work is brought to its end");
  await stage.calm();
  return { ...(await judged(stage, options, broken)), seed: options.seed, struck, faults: [...figures.values()], elapsed_ms: performance.now() - begun };
}

async function judged(stage: Stage, { say }: ChaosOptions, broken: string[]): Promise<Pick<ChaosReport, "sessions" | "tasks" | "runs" | "events" | "permissions" | "broken">> {
  const { client, subjects, prompt } = stage;
  broken.push(...stage.problems);
  for (const { subject: { session }, epoch, run, line } of keptJournals(stage)) {
    const events = await storedLog(client, session.id);
    // A journal whose daemon gave its runner up is not read again.
    if (events.some((event) => event.type === "runner.lost" && event.data.epoch === epoch)) continue;
    const taken = linesOf(events, run).length;
    if (taken < line) broken.push(`${session.id}: the journal of ${run} held ${line} lines when its runner died, and the log has ${taken}`);
  }
  const runs: Record<string, number> = {};
  let events = 0;
  for (const verdict of await Promise.all(subjects.map((each) => verdictOn(client, each, prompt.lines)))) {
    broken.push(...verdict.broken);
    events += verdict.events;
    for (const { status } of verdict.runs) runs[status] = (runs[status] ?? 0) + 1;
  }
  broken.push(...(await staleRows(client, subjects.map(({ session }) => session.id))));
  for (const line of broken) say(line);
  return { sessions: subjects.length, tasks: subjects.reduce((sum, { tasks }) => sum + tasks.length, 0), runs, events, permissions: subjects.reduce((sum, { given }) => sum + given.size, 0), broken };
}
