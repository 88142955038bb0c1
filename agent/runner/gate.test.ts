import { describe, expect, it } from "vitest";
import { grantOfRequest, newId, newChildId, type CarriedPermission, type CommandBody, type RunnerSettings } from "../../sdk/protocol/index.ts";
import { cutJson } from "./bounds.ts";
import { Gate, type GateOptions, type PermissionEvent } from "./gate.ts";

const session_id = newId("session", 0);
const run_id = newChildId("run", session_id, 0);
const OPEN: RunnerSettings = { edit_mode: "off", rules: [] };
const bash = (command: string, signal?: AbortSignal) => ({ tool: "Bash", input: { command }, ...(signal && { signal }) });

function setUp(settings: RunnerSettings | null = OPEN, more: Partial<GateOptions> = {}) {
  const events: PermissionEvent[] = [];
  const pending: string[][] = [];
  const gate = new Gate({
    session_id, place: { workspace: "/w", home: "/h" }, now: () => 0,
    record: (event, ids) => {
      if (event) events.push(event);
      pending.push(ids);
    },
    ...more,
  });
  if (settings) gate.update(settings, true);
  const asked = () => events.flatMap((event) => (event.type === "permission.requested" ? [event.data] : []));
  const answer = (id: string, more: Partial<Extract<CommandBody, { kind: "permission.answer" }>> = {}) => gate.answer({ kind: "permission.answer", permission_id: id, run_id, decision: "approved", reason: null, scope: "once", ...more });
  return { gate, events, pending, asked, answer };
}

describe("a gate that cannot do its work", () => {
  it("denies, and says why", async () => {
    const { gate } = setUp(null);
    expect(gate.fault).toContain("has not sent its rules");
    expect(await gate.check(bash("ls"))).toMatchObject({ allow: false });
    gate.update(null, false);
    expect(gate.fault).toContain("do not parse");
    gate.update(OPEN, true);
    expect(gate.fault).toBeNull();
  });

  it("denies where a question cannot be recorded", async () => {
    const { gate } = setUp(OPEN, {
      record: () => {
        throw new Error("no journal");
      },
    });
    expect(await gate.check(bash("touch x"))).toEqual({ allow: false, reason: "the permission gate failed: no journal" });
  });

  it("denies what it cannot even read", async () => {
    const { gate } = setUp();
    const cyclic: { tool: string; input: never } = { tool: "x", input: undefined as never };
    expect(await gate.check(cyclic)).toMatchObject({ allow: false });
  });
});

describe("a question", () => {
  it("is withdrawn when the agent takes it back, before it is asked or after", async () => {
    const { gate, events } = setUp();
    const before = AbortSignal.abort();
    expect(await gate.check(bash("touch x", before))).toMatchObject({ allow: false });
    expect(events).toEqual([]);
    const controller = new AbortController();
    const answered = gate.check(bash("touch x", controller.signal));
    controller.abort();
    expect(await answered).toMatchObject({ allow: false, reason: "the question was taken back" });
    expect(events.map(({ type }) => type)).toEqual(["permission.requested", "permission.withdrawn"]);
  });

  it("is answered once; what comes later changes nothing", async () => {
    const { gate, asked, answer, pending } = setUp();
    const answered = gate.check(bash("touch x"));
    const id = asked()[0]?.permission_id ?? "";
    answer(id, { decision: "denied", reason: "no" });
    answer(id);
    answer("perm_unknown");
    expect(await answered).toEqual({ allow: false, reason: "no" });
    expect(pending).toEqual([[id], []]);
  });

  it("shows what it can of a huge call, and says that there is more", () => {
    const { gate, asked } = setUp();
    void gate.check({ tool: "Write", input: { file_path: "/w/a", content: "x".repeat(1_000_000) } });
    const [data] = asked();
    expect(JSON.stringify(data?.input).length).toBeLessThan(65_536);
    expect(data?.reasons[0]).toMatch(/characters longer than is shown/);
  });
});

describe("edit mode", () => {
  const write = { tool: "Write", input: { file_path: "/w/a" } };
  it("`turn` ends with the task, and a welcome that repeats it does not renew it", async () => {
    const { gate, asked } = setUp({ edit_mode: "turn", rules: [] });
    expect(await gate.check(write)).toEqual({ allow: true });
    gate.turnEnds();
    void gate.check(write);
    expect(asked()).toHaveLength(1);
    gate.update({ edit_mode: "turn", rules: [] }, false);
    void gate.check(write);
    expect(asked()).toHaveLength(2);
    gate.update({ edit_mode: "turn", rules: [] }, true);
    expect(await gate.check(write)).toEqual({ allow: true });
  });

  it("`session` outlives tasks", async () => {
    const { gate } = setUp({ edit_mode: "session", rules: [] });
    gate.turnEnds();
    expect(await gate.check(write)).toEqual({ allow: true });
  });
});

describe("an approval for the session", () => {
  it("holds for calls like it in this runner and in the next one, which the session tells of it, until it is taken back", async () => {
    const first = setUp();
    const answered = first.gate.check(bash("touch a"));
    const [request] = first.asked();
    expect(request?.keys).toEqual(["touch"]);
    first.answer(request?.permission_id ?? "", { scope: "session" });
    expect(await answered).toEqual({ allow: true });
    first.gate.turnEnds();
    expect(await first.gate.check(bash("touch b"))).toEqual({ allow: true });
    const grant = request && grantOfRequest(request);
    if (!grant) throw new Error("the request says what it covers");
    const second = setUp({ ...OPEN, grants: [grant] });
    expect(await second.gate.check(bash("touch c"))).toEqual({ allow: true });
    second.gate.update({ ...OPEN, grants: [] }, true);
    void second.gate.check(bash("touch d"));
    expect(second.asked()).toHaveLength(1);
  });

  it("covers the identical call only where that is critical, and nothing where the request cannot hold it", async () => {
    const { gate, asked, answer } = setUp();
    void gate.check(bash("rm -rf /"));
    const [request] = asked();
    expect(request?.keys).toBeNull();
    answer(request?.permission_id ?? "", { scope: "session" });
    expect(await gate.check(bash("rm -rf /"))).toEqual({ allow: true });
    void gate.check(bash("rm -rf /etc"));
    void gate.check(bash(`rm -rf ${"x".repeat(20_000)}`));
    void gate.check({ tool: "t".repeat(300), input: {} });
    expect(asked().slice(1).map((each) => grantOfRequest(each) === null)).toEqual([false, true, true]);
    answer(asked()[3]?.permission_id ?? "", { scope: "session" });
    void gate.check({ tool: "t".repeat(300), input: {} });
    expect(asked()).toHaveLength(5);
  });

  it("for the turn goes on with an interrupted turn, and ends with it", async () => {
    const { gate, asked } = setUp();
    gate.turnBegins([], [{ tool: "Bash", risk: "medium", keys: ["touch"], input: "" }]);
    expect(await gate.check(bash("touch a"))).toEqual({ allow: true });
    gate.turnEnds();
    gate.turnBegins([]);
    void gate.check(bash("touch a"));
    expect(asked()).toHaveLength(1);
  });
});

describe("a turn that goes on after its agent was killed", () => {
  const carried = (command: string, more: Partial<CarriedPermission> = {}): CarriedPermission => ({ permission_id: newChildId("permission", session_id, 0), tool: "Bash", input: { command }, status: "pending", reason: null, scope: "once", ...more });

  it("gives the answer that was given meanwhile, once, to the same call only", async () => {
    const { gate, asked } = setUp();
    gate.turnBegins([carried("curl a", { status: "approved" }), carried("curl b", { status: "denied", reason: "not b" })]);
    expect(await gate.check({ tool: "Bash", input: { command: "curl a" } })).toEqual({ allow: true });
    expect(await gate.check({ tool: "Bash", input: { command: "curl b" } })).toEqual({ allow: false, reason: "not b" });
    expect(asked()).toEqual([]);
    void gate.check(bash("curl a"));
    void gate.check({ tool: "Shell", input: { command: "curl b" } });
    void gate.check({ tool: "Bash", input: { command: "curl b", more: 1 } });
    expect(asked()).toHaveLength(3);
  });

  it("waits under the same id where nobody has answered yet, without a second question", async () => {
    const { gate, asked, pending, answer } = setUp();
    const question = carried("curl a");
    gate.turnBegins([question]);
    const waits = gate.check({ tool: "Bash", input: { command: "curl a" } });
    expect(asked()).toEqual([]);
    expect(pending.at(-1)).toEqual([question.permission_id]);
    answer(question.permission_id);
    expect(await waits).toEqual({ allow: true });
  });

  it("takes an answer that comes before the agent has asked again", async () => {
    const { gate, asked, answer } = setUp();
    const question = carried("curl a");
    gate.turnBegins([question]);
    answer(question.permission_id, { decision: "denied", reason: "late" });
    expect(await gate.check(bash("curl a"))).toEqual({ allow: false, reason: "late" });
    expect(asked()).toEqual([]);
  });

  it("knows a call again whatever the order of its fields, but never one of which a part was not shown", async () => {
    const { gate, asked } = setUp();
    const long = "x".repeat(200_000);
    gate.turnBegins([carried("", { input: { a: 1, b: { c: 2, d: 3 } }, tool: "mine", status: "approved" }), carried("", { tool: "mine", input: cutJson({ long }).value, status: "approved" })]);
    expect(await gate.check({ tool: "mine", input: { b: { d: 3, c: 2 }, a: 1 } })).toEqual({ allow: true });
    void gate.check({ tool: "mine", input: { long } });
    expect(asked()).toHaveLength(1);
  });

  it("takes nothing back and answers nothing while the agent is ended where it stands", async () => {
    const { gate, events, answer, asked } = setUp();
    gate.turnBegins([]);
    const gone = new AbortController();
    let told = false;
    void gate.check(bash("curl a")).then(() => (told = true));
    void gate.check(bash("curl b", gone.signal));
    gate.leave();
    answer(asked()[0]?.permission_id ?? "");
    gone.abort();
    void gate.check(bash("curl c"));
    gate.turnEnds();
    expect(events.filter(({ type }) => type === "permission.withdrawn")).toEqual([]);
    expect(asked()).toHaveLength(2);
    expect(told).toBe(false);
    gate.turnBegins([]);
    void gate.check(bash("curl c"));
    expect(asked()).toHaveLength(3);
  });
});
