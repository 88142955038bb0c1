/** Owns what can be done to a running stack: every fault with how it is struck, how it is repaired, and how one sees that it was survived. */

import { setTimeout as delay } from "node:timers/promises";
import { commandOf, journalled, killed, runnersOf } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import type { Chance } from "../support/random.ts";
import type { Place, Stage } from "./stage.ts";
import { working, type Subject } from "./subject.ts";
import { suspensions } from "./suspensions.ts";

/** It was struck: repaired by the fault itself where somebody must, and survived once `recovered` resolves. */
export interface Struck {
  /** What was hit, in words. */
  what: string;
  recovered: Promise<unknown>;
}

export interface Fault {
  name: string;
  /** What it does, in words. */
  what: string;
  /** How often it is chosen, beside the others. */
  weight: number;
  /** Only one of these at a time: they take what all others stand on. */
  alone?: true;
  /** Takes longer than a short run has. */
  slow?: true;
  /** Why it cannot be done here; null where it can. */
  lacks?(stage: Stage): string | null;
  /** Null where there was nothing to strike. */
  strike(stage: Stage, random: Chance): Promise<Struck | null>;
}

/** All that work now, seen to work again. */
function allWork({ subjects }: Stage): Promise<unknown> {
  return Promise.all(subjects.filter((each) => each.running() !== null).map((each) => each.works()));
}
function placeOf(stage: Stage, random: Chance, wanted: (place: Place) => boolean = () => true): Place | null {
  const fit = stage.places.filter((place) => !place.busy && wanted(place));
  return fit.length > 0 ? random.pick(fit) : null;
}

/** A session that works in a plain process, with its runner. */
async function victim(stage: Stage, random: Chance) {
  const struck = await working(stage.subjects.filter(({ session }) => session.pool === "default"), random.pick);
  const run = struck.running();
  for (const place of stage.places) {
    const runner = (await runnersOf(place.host)).find(({ session_id }) => session_id === struck.session.id);
    if (runner && run) return { struck, run, runner, place };
  }
  return null;
}
const after = (struck: Subject, runId: string) => struck.works(runId);

/** While it lasts, the place's way is bad. */
async function onWay(stage: Stage, random: Chance, words: string, harm: (place: Place) => Promise<void>): Promise<Struck | null> {
  const place = placeOf(stage, random);
  if (!place) return null;
  await working(stage.subjects, random.pick);
  const recovered = (async () => {
    await harm(place);
    await allWork(stage);
  })();
  return { what: `${words} of host ${place.name}`, recovered };
}

export const FAULTS: readonly Fault[] = [
  {
    name: "runner", what: "SIGKILL for a runner in mid-run", weight: 30,
    async strike(stage, random) {
      const found = await victim(stage, random);
      if (!found || found.place.busy || !killed(found.runner.pid)) return null;
      const { struck, run, runner, place } = found;
      keep(stage, { subject: struck, epoch: runner.epoch, run: run.run_id, line: journalled(runner.dir, run.run_id) });
      return { what: `the runner of ${struck.session.id} on ${place.name}`, recovered: after(struck, run.run_id) };
    },
  },
  {
    name: "agent", what: "SIGKILL for an agent", weight: 12,
    async strike(stage, random) {
      const struck = await working(stage.subjects.filter(({ session }) => session.pool === "default"), random.pick);
      const run = struck.running();
      if (!run || run.pid === null || !commandOf(run.pid).includes("line-agent") || !killed(run.pid)) return null;
      return { what: `the agent of ${struck.session.id}`, recovered: after(struck, run.run_id) };
    },
  },
  {
    name: "sandbox", what: "SIGKILL for everything of a sandbox at once", weight: 8,
    async strike(stage, random) {
      const found = await victim(stage, random);
      if (!found || found.place.busy) return null;
      const { struck, run, runner } = found;
      if (run.pid !== null && commandOf(run.pid).includes("line-agent")) killed(run.pid);
      if (!killed(runner.pid)) return null;
      return { what: `the sandbox of ${struck.session.id}`, recovered: after(struck, run.run_id) };
    },
  },
  {
    name: "container", what: "docker kill for a session's container", weight: 6,
    lacks: ({ missing }) => missing.get("container") ?? null,
    async strike(stage, random) {
      const struck = await working(stage.subjects.filter(({ session }) => session.pool === "boxes"), random.pick);
      const run = struck.running();
      const { runner } = await stage.client.sessions.get(struck.session.id);
      if (!run || !runner || !stage.engine) return null;
      const gone = await stage.engine.getContainer(`marionette-${runner.id}`).kill().then(() => false, () => true);
      return gone ? null : { what: `the container of ${struck.session.id}`, recovered: after(struck, run.run_id) };
    },
  },
  {
    name: "daemon", what: "SIGKILL for a host's daemon; its runners go on, then it is started again", weight: 4, alone: true,
    async strike(stage, random) {
      const place = placeOf(stage, random);
      if (!place) return null;
      await working(stage.subjects, random.pick);
      place.busy = true;
      const recovered = (async () => {
        try {
          await stage.restart(place);
        } finally {
          place.busy = false;
        }
        await allWork(stage);
      })();
      return { what: `the daemon of ${place.name}`, recovered };
    },
  },
  {
    name: "workerd", what: "SIGKILL for the control plane, which comes back on the same data", weight: 6, alone: true,
    async strike(stage, random) {
      await working(stage.subjects, random.pick);
      await stage.stack.controlPlane.kill();
      return { what: "workerd", recovered: allWork(stage) };
    },
  },
  {
    name: "database", what: "Postgres does not answer for a while, and forgets its connections", weight: 5, alone: true,
    async strike(stage, random) {
      await working(stage.subjects, random.pick);
      const { postgres } = stage.stack;
      postgres.setAvailable(false);
      const recovered = (async () => {
        try {
          await delay(300 + random.below(2_000));
          // A real one loses whoever was connected, too.
          if (postgres.kind === "PostgreSQL") await postgres.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()");
        } finally {
          postgres.setAvailable(true);
        }
        await allWork(stage);
      })();
      return { what: postgres.kind, recovered };
    },
  },
  { name: "cut", what: "every connection of a host is cut", weight: 10, strike: (stage, random) => onWay(stage, random, "connections", async ({ proxy }) => proxy.cut()) },
  {
    name: "stall", what: "nothing gets through for a while; half of the time what was held back is lost", weight: 6,
    strike: (stage, random) => onWay(stage, random, "way", async ({ proxy }) => {
      proxy.stall();
      await delay(100 + random.below(1_500));
      if (random.below(2) === 0) proxy.cut();
      proxy.resume();
    }),
  },
  {
    name: "delay", what: "everything arrives late", weight: 4,
    strike: (stage, random) => onWay(stage, random, "way", async ({ proxy }) => {
      proxy.delay(20 + random.below(300));
      await delay(1_000);
      proxy.delay(0);
    }),
  },
  {
    name: "half-open", what: "connections swallow what they are given, without a word", weight: 1, slow: true,
    strike: (stage, random) => onWay(stage, random, "connections", async ({ proxy }) => {
      proxy.swallow();
      await eventually("everyone has noticed", () => proxy.swallowing === 0, 120_000);
    }),
  },
  {
    name: "disk", what: "the disk under a host's journals is full for a while", weight: 3,
    lacks: ({ missing }) => missing.get("disk") ?? null,
    async strike(stage, random) {
      const place = placeOf(stage, random, ({ disk }) => disk !== null);
      if (!place?.disk) return null;
      const { disk } = place;
      await working(stage.subjects, random.pick);
      place.busy = true;
      disk.fill();
      const recovered = (async () => {
        try {
          await delay(200 + random.below(1_000));
        } finally {
          disk.free();
          place.busy = false;
        }
        await allWork(stage);
      })();
      return { what: `the disk of ${place.name}`, recovered };
    },
  },
  {
    name: "clock", what: "the clock of daemons and runners jumps, and jumps back", weight: 4, alone: true,
    async strike(stage, random) {
      await working(stage.subjects, random.pick);
      const jump = random.pick([-86_400_000, -3_600_000, -5_000, 5_000, 3_600_000, 86_400_000 * 400]);
      stage.clock.jump(jump);
      const recovered = (async () => {
        try {
          await delay(300 + random.below(1_500));
        } finally {
          stage.clock.jump(0);
        }
        await allWork(stage);
      })();
      return { what: `${jump / 1_000} s`, recovered };
    },
  },
  ...suspensions,
];

/** What a dead runner's journal held: it must be in the log, unless its daemon gave it up. */
export interface Kept {
  subject: Subject;
  epoch: number;
  run: string;
  line: number;
}
const journals = new WeakMap<Stage, Kept[]>();
function keep(stage: Stage, kept: Kept): void {
  journals.set(stage, [...(journals.get(stage) ?? []), kept]);
}
export function keptJournals(stage: Stage): readonly Kept[] {
  return journals.get(stage) ?? [];
}
