/** Owns the faults that are no accidents: sessions that are suspended in mid-run, resumed here and elsewhere, and lose their host meanwhile. */

import { setTimeout as delay } from "node:timers/promises";
import { session as sessionSchema } from "../../sdk/protocol/index.ts";
import type { Answer } from "../support/api.ts";
import { killed, runnersOf } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import type { Chance } from "../support/random.ts";
import type { Fault, Struck } from "./faults.ts";
import type { Stage } from "./stage.ts";
import { working, type Subject } from "./subject.ts";

const lacks = ({ routes }: Stage): string | null => (["suspend", "resume"].every((verb) => routes.has(`/api/v1/sessions/{id}/${verb}`)) ? null : "this version cannot suspend sessions");

/** Sessions that are being suspended now: one thing at a time for each. */
const held = new WeakSet<Subject>();

/** Posts to a session, again where the control plane is away just then. */
function told(stage: Stage, id: string, verb: "suspend" | "resume", body: object): Promise<Answer<unknown>> {
  return eventually(`${id} can be told to ${verb}`, () => stage.stack.api.request("POST", `/sessions/${id}/${verb}`, body), 60_000);
}
async function suspended(stage: Stage, { session: { id } }: Subject, body: object): Promise<boolean> {
  const answer = await told(stage, id, "suspend", body);
  if (answer.status === 409 || answer.status === 503) return false;
  if (answer.status >= 300) throw new Error(`suspend ${id}: ${answer.status} ${JSON.stringify(answer.body)}`);
  // An answer that comes meanwhile resumes it at once.
  return (await eventually(`${id} is suspended`, async () => {
    const { status } = await stage.client.sessions.get(id);
    return status === "suspending" ? null : { status };
  }, 90_000)).status === "suspended";
}
async function resume(stage: Stage, { session: { id } }: Subject, body: object): Promise<void> {
  await eventually(`${id} is told to resume`, async () => {
    const { status, body: said } = await told(stage, id, "resume", body);
    if (status === 409 && (await stage.client.sessions.get(id)).status !== "suspended") return true;
    if (status >= 300 && status !== 409 && status !== 503) throw new Error(`resume ${id}: ${status} ${JSON.stringify(said)}`);
    return status < 300;
  }, 60_000);
}

/** Suspends a session that works, does something to it, and resumes it. */
async function nap(stage: Stage, random: Chance, words: string, suspend: object, meanwhile: (subject: Subject) => Promise<object>): Promise<Struck | null> {
  const free = stage.subjects.filter((each) => each.session.pool === "default" && !held.has(each));
  if (free.length === 0) return null;
  const subject = await working(free, random.pick);
  if (held.has(subject)) return null;
  held.add(subject);
  const recovered = (async () => {
    try {
      if (await suspended(stage, subject, suspend)) await resume(stage, subject, await meanwhile(subject));
      await subject.works();
    } finally {
      held.delete(subject);
    }
  })();
  return { what: `${subject.session.id}: ${words}`, recovered };
}

export const suspensions: readonly Fault[] = [
  {
    name: "suspend", what: "a session is suspended in mid-run and resumed", weight: 6, lacks,
    strike: (stage, random) => nap(stage, random, "suspended and resumed", {}, async () => {
      await delay(random.below(500));
      return {};
    }),
  },
  {
    name: "pause", what: "a session is frozen in mid-run and thawed", weight: 4, lacks,
    strike: (stage, random) => nap(stage, random, "paused and resumed", { strategy: "pause" }, async () => {
      await delay(random.below(1_500));
      return {};
    }),
  },
  {
    name: "elsewhere", what: "a session is suspended, its files are discarded, and it is resumed on the other host", weight: 4, lacks,
    strike: (stage, random) => nap(stage, random, "resumed on another host", { strategy: "release_to_pool" }, async ({ session }) => {
      const now = sessionSchema.parse(await stage.client.sessions.get(session.id));
      const other = stage.places.find(({ name, host }) => name !== "boxes" && host.id !== now.host_id);
      return other ? { selector: `chaos=${other.name}` } : {};
    }),
  },
  {
    name: "sync", what: "a runner is killed while its workspace is synced for a suspend", weight: 3, lacks,
    async strike(stage, random) {
      const killer = async (subject: Subject) => {
        await delay(random.below(150));
        for (const { host } of stage.places) for (const runner of await runnersOf(host)) if (runner.session_id === subject.session.id) killed(runner.pid);
      };
      const free = stage.subjects.filter((each) => each.session.pool === "default" && !held.has(each));
      if (free.length === 0) return null;
      const subject = await working(free, random.pick);
      held.add(subject);
      const recovered = (async () => {
        try {
          const [done] = await Promise.all([suspended(stage, subject, {}), killer(subject)]);
          if (done) await resume(stage, subject, {});
          await subject.works();
        } finally {
          held.delete(subject);
        }
      })();
      return { what: `${subject.session.id}: killed while it was suspended`, recovered };
    },
  },
];
