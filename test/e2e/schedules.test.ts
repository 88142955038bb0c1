/** Owns the proof of schedules over the whole stack: from `mctl` to the agent, by hand and by the clock, also over the death of the control plane. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Schedule, Task } from "../../sdk/index.ts";
import { eventually } from "../support/eventually.ts";
import { FakeIo } from "../support/fake-io.ts";
import { all, of, said, startScene, type Scene } from "../support/scene.ts";

let scene: Scene;
beforeAll(async () => {
  scene = await startScene();
});
afterAll(() => scene.close());

async function mctl(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const io = new FakeIo({ env: { MARIONETTE_API_URL: scene.stack.url, MARIONETTE_API_KEY: scene.stack.apiKey } });
  const code = await io.run("schedules", ...argv);
  return { code, out: io.out, err: io.err };
}
const runs = async (schedule: Schedule) => of(await all(scene.client.sessions.events(schedule.session_id)), "schedule.run");
const suspended = (schedule: Schedule) => eventually("it is suspended until its next run", async () => {
  const now = await scene.client.sessions.get(schedule.session_id);
  return now.status === "suspended" ? now : null;
});
const first = async (task: Task) => said(await scene.log(task))[0];
const OPTIONS = { agent: "example", prompt: "note the hour", rules: [{ verdict: "allow" as const }], idle_timeout_seconds: 1 };

describe("a schedule", () => {
  it("runs by hand: fresh each time, or going on, with its files; and is listed, paused and deleted with mctl", async () => {
    const { schedules, sessions } = scene.client;
    const fresh = await schedules.create({ ...OPTIONS, name: "fresh", cron: "0 0 1 1 *", timezone: "Europe/Berlin" });
    // The other door to the same.
    const asked = await sessions.create({ ...OPTIONS, name: "going", lifecycle_mode: "scheduled", schedule: "0 0 1 1 *", timezone: "UTC" });
    expect(asked).toMatchObject({ status: "pending", lifecycle_mode: "scheduled", runner: null });
    const going = await schedules.update(asked.schedule_id ?? "", { continue: true });
    expect(await sessions.get(fresh.session_id)).toMatchObject({ status: "pending", lifecycle_mode: "scheduled", runner: null });
    for (const [schedule, hello] of [[fresh, /^Hello!/], [going, /^Hello again!/]] as const) {
      const one = await scene.end(await schedules.trigger(schedule.id));
      expect(one).toMatchObject({ status: "completed", attempts: 1 });
      expect(await suspended(schedule)).toMatchObject({ suspension: { cause: "schedule" } });
      const two = await scene.end(await schedules.trigger(schedule.id));
      expect(two.status).toBe("completed");
      expect(await first(one)).toMatch(/^Hello!/);
      expect(await first(two)).toMatch(hello);
      // Both runs noted it in the one file.
      expect(said(await scene.log(two)).join("\n")).toMatch(/It said: 2 /);
      expect((await runs(schedule)).map(({ status, by }) => [status, by !== null])).toEqual([["started", true], ["started", true]]);
      const listed = await eventually("both runs are listed", async () => ((await schedules.runs(schedule)).items.length === 2 ? (await schedules.runs(schedule)).items : null));
      expect(listed.map(({ id }) => id)).toEqual([two.id, one.id]);
    }
    const list = await mctl("list");
    for (const text of [fresh.id, going.id, "fresh", "Europe/Berlin", "completed"]) expect(list.out).toContain(text);
    expect((await mctl("pause", fresh.id)).err).toContain("Paused");
    expect((await schedules.get(fresh.id)).next_run_at).toBeNull();
    expect((await mctl("resume", fresh.id)).err).toContain("next run");
    expect((await mctl("delete", fresh.id, going.id, "--keep-session")).code).toBe(0);
    expect((await mctl("get", fresh.id)).err).toContain("no schedule of that id");
    expect((await sessions.get(going.session_id)).lifecycle_mode).toBe("on_demand");
    expect((await schedules.list({})).items).toEqual([]);
    const refused = await mctl("create", "--agent", "example", "--cron", "0 0 30 2 *", "go");
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("never fires")]);
  });

  it("runs when it is due, though the control plane was killed and the session suspended before", async () => {
    const { schedules } = scene.client;
    const made = await schedules.create({ ...OPTIONS, cron: "* * * * *" });
    await scene.end(await schedules.trigger(made.id));
    await suspended(made);
    await scene.stack.controlPlane.kill();
    // A minute that began while the first one ran has been skipped.
    const seen = await eventually("a due time has become a run", async () => (await runs(made)).find(({ by, status }) => by === null && status !== "skipped"), 150_000);
    expect(seen.status).toBe("started");
    expect(Date.parse(seen.due_at ?? "") % 60_000).toBe(0);
    expect(await scene.end(await scene.client.tasks.get(seen.task_id ?? ""))).toMatchObject({ status: "completed", prompt: "note the hour" });
    // The row follows the run.
    const row = await eventually("the list has its end", async () => (await schedules.list({ status: "active" })).items.find(({ id, last_run }) => id === made.id && last_run?.status === "completed" && last_run.task_id === seen.task_id));
    expect(Date.parse(row.next_run_at ?? "") - Date.parse(seen.due_at ?? "")).toBe(60_000);
    await schedules.delete(made.id);
    expect((await scene.client.sessions.get(made.session_id)).status).toBe("terminated");
  });
});
