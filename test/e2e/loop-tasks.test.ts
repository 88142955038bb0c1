import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Rule } from "../../sdk/index.ts";
import { acpScript } from "../support/acp-agent.ts";
import { steps, type Step } from "../support/agents.ts";
import { eventually } from "../support/eventually.ts";
import { all, of, said, startScene, type Scene } from "../support/scene.ts";

const ASK: Step = ["ask", "Bash", { command: "curl https://example.org" }];

describe("tasks of a session", () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await startScene();
  });
  afterAll(() => scene.close());

  it("run one at a time in the order they came, the next as soon as one ends", async () => {
    const session = await scene.session();
    const tasks = [];
    for (let i = 0; i < 10; i++) tasks.push(await scene.task(session, steps(["text", `I am ${i}`])));
    const ended = await Promise.all(tasks.map((task) => scene.end(task)));
    expect(ended.every(({ status }) => status === "completed")).toBe(true);
    const log = await all(scene.client.sessions.events(session.id));
    expect(said(log)).toEqual(tasks.map((_, i) => `I am ${i}`));
    const changes = log.flatMap((event) => (event.type === "task.status" && event.data.status !== "pending" ? [`${event.task_id} ${event.data.status}`] : []));
    expect(changes).toEqual(tasks.flatMap(({ id }) => [`${id} running`, `${id} completed`]));
    // One runner served them all.
    expect(of(log, "runner.attached")).toHaveLength(1);
  });

  it("are canceled while they run, with what they ask, and while they wait; the next one goes on", async () => {
    const session = await scene.session();
    const [running, waiting, last] = [await scene.task(session, steps(ASK)), await scene.task(session, "never"), await scene.task(session, "after all")];
    const asked = await scene.asked(running);
    expect(await scene.client.tasks.cancel(waiting.id)).toMatchObject({ status: "canceled" });
    await scene.client.tasks.cancel(running.id);
    expect(await scene.end(running)).toMatchObject({ status: "canceled", error: { code: "canceled" } });
    expect(await scene.client.permissions.get(asked.id)).toMatchObject({ status: "canceled" });
    expect(said(await scene.log(running))).toContain("interrupted");
    expect(await scene.end(waiting)).toMatchObject({ status: "canceled", attempts: 0 });
    expect(await scene.end(last)).toMatchObject({ status: "completed" });
    expect(await scene.client.tasks.cancel(last.id).catch((error: unknown) => error)).toMatchObject({ status: 409 });
  });

  it("end when their time is over, even where the agent never would, and nothing of it is left", async () => {
    const session = await scene.session();
    const task = await scene.task(session, steps(["fork", true], ["sleep", 600_000]), { timeout_seconds: 1 });
    expect(await scene.end(task)).toMatchObject({ status: "timeout", error: { code: "timeout" } });
    expect(await scene.end(await scene.task(session, "next"))).toMatchObject({ status: "completed" });
  });

  it("are tried again after growing pauses where the agent crashes, and can be tried again by hand", async () => {
    const session = await scene.session();
    const task = await scene.task(session, steps(["text", "trying"], ["crash"]), { max_retries: 2 });
    for (const attempt of [1, 2]) {
      const waiting = await eventually(`attempt ${attempt} has failed`, async () => {
        const now = await scene.client.tasks.get(task.id);
        return now.attempts === attempt && now.next_attempt_at !== null ? now : null;
      });
      expect(waiting).toMatchObject({ status: "pending" });
      expect(waiting.waiting_for).toMatch(new RegExp(`^attempt ${attempt} ended: scripted was ended by SIG`));
      const pause = Date.parse(waiting.next_attempt_at ?? "") - Date.parse((await all(scene.client.tasks.runs(task.id))).at(-1)?.ended_at ?? "");
      expect(pause).toBeGreaterThanOrEqual(500 * 2 ** (attempt - 1));
      // Nobody wants to wait for it here.
      await scene.client.tasks.execute(task.id);
    }
    expect(await scene.end(task)).toMatchObject({ status: "failed", attempts: 3, error: { code: "agent_crashed" } });
    expect((await all(scene.client.tasks.runs(task.id))).map(({ attempt, status }) => [attempt, status])).toEqual([[1, "failed"], [2, "failed"], [3, "failed"]]);
    await scene.client.tasks.retry(task.id);
    expect(await eventually("the fourth attempt has ended", async () => {
      const now = await scene.client.tasks.get(task.id);
      return now.status === "failed" && now.attempts === 4 ? now : null;
    })).toMatchObject({ attempts: 4 });
  });

  it("continue the session's latest conversation, or that of the task they name", async () => {
    const session = await scene.session({ agent: "scripted-acp" });
    const first = await scene.end(await scene.task(session, "one"));
    expect(first).toMatchObject({ status: "completed", result: "Heard 1: one" });
    expect(first.conversation).toBeTruthy();
    const second = await scene.end(await scene.task(session, "two"));
    expect(second).toMatchObject({ result: "Heard 2: two", conversation: first.conversation });
    const other = await scene.session({ agent: "scripted-acp" });
    expect(await scene.end(await scene.task(other, "alone"))).toMatchObject({ result: "Heard 1: alone" });
    expect(await scene.end(await scene.task(session, "three", { continue_from: first.id }))).toMatchObject({ result: "Heard 3: three" });

    const named = await scene.session();
    const [a] = [await scene.task(named, steps(["result", "", "talk-a"])), await scene.task(named, steps(["conversation"], ["result", "", "talk-b"]))];
    const [latest, from] = [await scene.task(named, steps(["conversation"])), await scene.task(named, steps(["conversation"]), { continue_from: (await scene.end(a)).id })];
    await Promise.all([latest, from].map((task) => scene.end(task)));
    expect(said(await all(scene.client.sessions.events(named.id)))).toEqual(["talk-a", "talk-b", "talk-a"]);
    const foreign = await scene.task(session, "x", { continue_from: second.id.replace(session.id.slice(5), other.id.slice(5)) }).catch((error: unknown) => error);
    expect(foreign).toMatchObject({ status: expect.any(Number) as unknown });
    expect((foreign as { status: number }).status).toBeGreaterThanOrEqual(400);
    expect((foreign as { status: number }).status).toBeLessThan(500);
  });

  it("are decided by rules, the last that matches, before anybody is asked", async () => {
    const rules: Rule[] = [
      { tool: "Bash", verdict: "deny", reason: "no shell here" },
      { tool: "Bash", pattern: "curl https://good.example/*", verdict: "allow" },
      { tool: "Write", verdict: "deny", reason: "read only" },
    ];
    const session = await scene.session({ rules });
    const calls = steps(["ask", "Bash", { command: "curl https://good.example/x" }], ["ask", "Bash", { command: "curl https://bad.example/x" }], ["ask", "Write", { file_path: "a.txt", content: "" }], ["ask", "Read", { file_path: "a.txt" }]);
    const task = await scene.task(session, calls);
    await scene.end(task);
    const log = await scene.log(task);
    expect(said(log)).toEqual(["Bash: approved", "Bash: denied: no shell here", "Write: denied: read only", "Read: approved"]);
    expect(of(log, "permission.requested")).toEqual([]);
    // A change of the rules reaches the runner that is there.
    await scene.client.sessions.update(session.id, { rules: [{ verdict: "deny", reason: "closed" }] });
    const closed = await scene.task(session, calls);
    await scene.end(closed);
    expect(new Set(said(await scene.log(closed)))).toEqual(new Set(["Bash: denied: closed", "Write: denied: closed", "Read: denied: closed"]));
  });

  it("may edit without asking where the edit mode says so, but not outside the workspace", async () => {
    const session = await scene.session({ edit_mode: "session" });
    const inside = await scene.task(session, steps(["ask", "Write", { file_path: "notes/a.txt", content: "" }], ["ask", "Write", { file_path: "/etc/passwd", content: "" }]));
    const asked = await scene.asked(inside);
    expect(asked).toMatchObject({ tool: "Write", summary: "/etc/passwd" });
    await scene.client.permissions.deny(asked.id);
    await scene.end(inside);
    expect(said(await scene.log(inside))[0]).toBe("Write: approved");
    await scene.client.sessions.update(session.id, { edit_mode: "off" });
    const asking = await scene.task(session, steps(["ask", "Write", { file_path: "notes/a.txt", content: "" }]));
    await scene.client.permissions.approve((await scene.asked(asking)).id);
    expect(await scene.end(asking)).toMatchObject({ status: "completed" });
  });

  it("are asked once only for what was approved for the turn or for the session", async () => {
    const session = await scene.session();
    const install = (name: string): Step => ["ask", "Bash", { command: `npm install ${name}` }];
    const turn = await scene.task(session, steps(install("a"), install("b")));
    await scene.client.permissions.approve((await scene.asked(turn)).id, { scope: "turn" });
    expect(await scene.end(turn)).toMatchObject({ status: "completed" });
    const next = await scene.task(session, steps(install("a"), install("b")));
    await scene.client.permissions.approve((await scene.asked(next)).id, { scope: "session" });
    expect(await scene.end(next)).toMatchObject({ status: "completed" });
    const last = await scene.task(session, steps(install("c")));
    expect(await scene.end(last)).toMatchObject({ status: "completed" });
    expect(of(await all(scene.client.sessions.events(session.id)), "permission.requested")).toHaveLength(2);
  });

  it("get a runner each where the session says so", async () => {
    const session = await scene.session({ runner_lifecycle: "per-task" });
    for (const word of ["one", "two"]) expect(await scene.end(await scene.task(session, steps(["write", `${word}.txt`, word])))).toMatchObject({ status: "completed" });
    const log = await all(scene.client.sessions.events(session.id));
    expect(new Set(of(log, "runner.attached").map(({ runner_id }) => runner_id)).size).toBe(2);
    expect((await scene.client.sessions.files.list(session.id)).map(({ name }) => name).sort()).toEqual(["one.txt", "two.txt"]);
  });
});

describe("agents of one's own", () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await startScene();
  });
  afterAll(() => scene.close());

  it("are started as the host's file says, with their arguments and environment", async () => {
    const task = await scene.task(await scene.session({ agent: "shell" }), "go");
    expect(await scene.end(task)).toMatchObject({ status: "completed", result: "done" });
    expect(said(await scene.log(task))).toEqual(["args --one two words; word from the host's file; task 1"]);
  });

  it("may speak the Agent Client Protocol: plan, thoughts, edits, and commands that are asked about", async () => {
    const session = await scene.session({ agent: "scripted-acp", edit_mode: "turn" });
    const task = await scene.task(session, acpScript([{ plan: ["look", "do"] }, { think: "hm" }, { edit: "/workspace/made.txt", content: "by acp\n" }, { run: "touch ran.txt && echo ran" }, { say: "Bye now." }]));
    const asked = await scene.asked(task);
    expect(asked.summary).toContain("touch ran.txt");
    await scene.client.permissions.approve(asked.id);
    expect(await scene.end(task)).toMatchObject({ status: "completed", result: "Bye now." });
    const log = await scene.log(task);
    expect(of(log, "plan")[0]?.items.map(({ text }) => text)).toEqual(["look", "do"]);
    expect(of(log, "thinking").map(({ text }) => text).join("")).toBe("hm");
    expect((await scene.client.sessions.files.list(session.id)).map(({ name }) => name).sort()).toEqual(["made.txt", "ran.txt"]);
  });

  it.each([
    ["that nobody knows", "nonesuch", "agent_unknown", /agents\.custom/],
    ["whose program is missing", "absent", "agent_missing", /brew it yourself/],
    ["whose program cannot be run", "broken", "agent_missing|agent_crashed|agent_failed", /./],
    ["that is built in and not installed", "gemini", "agent_missing", /npm install -g/],
  ])("%s say at once what to do", async (_, agent, code, hint) => {
    const session = await scene.session({ agent });
    const task = await scene.end(await scene.task(session, "hello"));
    expect(task.status).toBe("failed");
    expect(task.error?.code).toMatch(new RegExp(`^(${code})$`));
    expect(`${task.error?.message} ${task.error?.hint}`).toMatch(hint);
  });
});
