/** Owns the workspace bench: first sync, unchanged sync, sync after 1 % of the files changed, and restore, each beside restic on the same tree. */

import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { restoreInThread, syncInThread, type DoorPlace } from "../../agent/workspace/thread.ts";
import { idOf, newId } from "../../sdk/protocol/ids.ts";
import { Secret } from "../../sdk/protocol/secret.ts";
import { apiOf } from "../support/api.ts";
import { startStack } from "../support/stack.ts";
import { roomyPlace } from "./place.ts";
import { number, type Figure } from "./table.ts";
import { changeTree, makeTree } from "./workspace-tree.ts";

const STEPS = ["first sync", "unchanged sync", "sync after 1 % of the files changed", "restore"] as const;
type Step = (typeof STEPS)[number];
type Times = Record<Step, number>;
/** Each is done so often, in turn with restic, and the best of each counts: others may be at work on the machine. */
const ROUNDS = 2;
const NEEDED_BYTES = 4 * 2 ** 30;

/** Syncs and restores through one door, with a store of its own in each round. */
interface Contender {
  name: string;
  begin(round: number): Promise<void>;
  sync(): Promise<void>;
  restore(into: string): Promise<void>;
}

export async function benchWorkspace(): Promise<Figure[]> {
  // The edge's store lies on the same disk as restic's.
  const { base, leave } = roomyPlace("workspace", NEEDED_BYTES);
  const stack = await startStack();
  try {
    const tree = join(base, "tree");
    makeTree(tree);
    /** A tenant of its own each time: a chunk that another one has is no chunk of its. */
    async function edge(round: number): Promise<Place> {
      const { apiKey } = await stack.tenant(`bench ${round}`);
      const { id } = await apiOf(stack.url, apiKey).post("/workspaces", { name: "bench" }, z.object({ id: idOf("workspace") }));
      return { door: { base: `${stack.url}/api/v1/workspaces/${id}`, token: new Secret(apiKey) }, workspace_id: id };
    }
    const contenders = [
      ...(spawnSync("restic", ["version"]).status === 0 ? [restic(base, tree)] : []),
      ours("to a directory", base, tree, async (round) => ({ door: { directory: join(base, "store", String(round)) }, workspace_id: newId("workspace", Date.now()) })),
      ours("through workerd", base, tree, edge),
    ];
    const best = new Map<string, Times>();
    for (let round = 0; round < ROUNDS; round++) {
      for (const [step, times] of await oneRound(contenders, tree, base, round)) {
        const before = best.get(step);
        best.set(step, before ? (Object.fromEntries(STEPS.map((name) => [name, Math.min(before[name], times[name])])) as Times) : times);
      }
    }
    const raw = best.get("restic");
    return contenders.filter(({ name }) => name !== "restic").flatMap(({ name }) => STEPS.map((step) => figure(`workspace of 500 MB, 50,016 files: ${step} ${name}`, best.get(name)?.[step] ?? Number.NaN, raw?.[step])));
  } finally {
    await stack.close();
    leave();
  }
}

/** Step by step, all of them on the same tree in the same minute. */
async function oneRound(contenders: readonly Contender[], tree: string, base: string, round: number): Promise<Map<string, Times>> {
  const times = new Map<string, Times>(contenders.map(({ name }) => [name, Object.fromEntries(STEPS.map((step) => [step, Number.POSITIVE_INFINITY])) as Times]));
  for (const contender of contenders) await contender.begin(round);
  for (const step of STEPS) {
    if (step === "sync after 1 % of the files changed") changeTree(tree, round);
    for (const contender of contenders) {
      const into = join(base, "restored");
      const begun = performance.now();
      await (step === "restore" ? contender.restore(into) : contender.sync());
      const took = performance.now() - begun;
      process.stderr.write(`  ${contender.name}: ${step} ${number(took)} ms\n`);
      (times.get(contender.name) as Times)[step] = took;
      if (step !== "restore") continue;
      const root = contender.name === "restic" ? join(into, tree) : into;
      const compared = round === 0 ? spawnSync("diff", ["-r", "--brief", tree, root], { encoding: "utf8" }) : null;
      if (compared && compared.status !== 0) throw new Error(`${contender.name} restored another tree: ${compared.stdout.slice(0, 500)}`);
      rmSync(into, { recursive: true, force: true });
    }
  }
  return times;
}

function figure(work: string, ms: number, raw: number | undefined): Figure {
  if (raw === undefined) return { work, result: `${number(ms / 1_000)} s`, raw: "restic is not here (apt-get install restic)", ratio: null, goal: "≤ restic", met: false };
  return { work, result: `${number(ms / 1_000)} s`, raw: `${number(raw / 1_000)} s (restic)`, ratio: ms / raw, goal: "≤ restic", met: ms <= raw };
}

interface Place {
  door: DoorPlace;
  workspace_id: string;
}

/** `open` gives a store that has nothing yet. */
function ours(name: string, base: string, tree: string, open: (round: number) => Promise<Place>): Contender {
  let place: Place;
  let index = "";
  let last = "";
  return {
    name,
    async begin(round) {
      place = await open(round);
      index = join(base, `index-${name.length}-${round}`);
    },
    async sync() {
      const { manifest_id } = await syncInThread({ root: tree, kind: "workspace", ids: { manifest_id: newId("manifest", Date.now()), workspace_id: place.workspace_id }, door: place.door, index }).done;
      last = manifest_id;
    },
    async restore(into) {
      await restoreInThread({ root: into, manifest: last, door: place.door, index: join(base, "index-restored") });
      rmSync(join(base, "index-restored"));
    },
  };
}

function restic(base: string, tree: string): Contender {
  let env: NodeJS.ProcessEnv = {};
  const run = (...args: string[]) => {
    const ran = spawnSync("restic", ["--quiet", ...args], { env, encoding: "utf8" });
    if (ran.status !== 0) throw new Error(`restic ${args.join(" ")}: ${ran.stderr}`);
  };
  return {
    name: "restic",
    async begin(round) {
      const at = join(base, `restic-${round}`);
      mkdirSync(at);
      env = { ...process.env, RESTIC_PASSWORD: "bench", RESTIC_REPOSITORY: join(at, "repository"), RESTIC_CACHE_DIR: join(at, "cache") };
      run("init");
    },
    sync: async () => run("backup", tree),
    restore: async (into) => run("restore", "latest", "--target", into),
  };
}
