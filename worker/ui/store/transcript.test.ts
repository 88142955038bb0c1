import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Event } from "../../../sdk/index.ts";
import { Transcript } from "./transcript.ts";

const SESSION = "sess_0";
let seq = 0;
const event = (type: string, data: object, task_id: string | null = "task_1"): Event => ({ seq: ++seq, session_id: SESSION, task_id, run_id: null, at: new Date(1_700_000_000_000 + seq * 10).toISOString(), type, data }) as unknown as Event;
function log(): Event[] {
  seq = 0;
  const call = { tool: "Bash", input: { command: "ls" } };
  return [
    event("task.created", { task_id: "task_1", prompt_preview: "do it", labels: {} }),
    event("run.status", { status: "running" }),
    event("message.delta", { text: "Hel" }), event("message.delta", { text: "lo" }), event("message", { text: "Hello" }),
    event("tool.call", { call_id: "a", ...call }), event("permission.requested", { permission_id: "perm_1", ...call, summary: "ls", risk: "low", reasons: [] }),
    event("permission.answered", { permission_id: "perm_1", status: "approved", by: "key", reason: null, scope: "once" }),
    event("log", { stream: "stdout", text: "one\n" }), event("log", { stream: "stdout", text: "two\n" }), event("log", { stream: "stderr", text: "three\n" }),
    event("tool.result", { call_id: "a", output: "x", is_error: false }),
    event("thinking", { text: "hm" }), event("message.delta", { text: "By" }), event("message.delta", { text: "e" }),
    event("task.status", { status: "completed", attempt: 1, error: null, reason: null }),
  ];
}
const folded = (events: Event[]) => {
  const transcript = new Transcript();
  transcript.append(events);
  return transcript;
};

describe("a transcript", () => {
  it("folds deltas, calls with their results, and output", () => {
    const { items, now } = folded(log());
    expect(items.map((item) => item.kind)).toEqual(["task", "message", "tool", "permission", "terminal", "terminal", "thinking", "message"]);
    expect(items).toMatchObject([{ status: "completed" }, { text: "Hello", open: false }, { state: "done", output: "x", duration_ms: 60 }, { status: "approved" }, { text: "one\ntwo\n" }, { text: "three\n" }, {}, { text: "Bye", open: false }]);
    expect(now.doing).toBeNull();
  });
  it("counts every number once and marks what is missing", () => {
    const events = log();
    const transcript = folded(events.slice(0, 4));
    transcript.append(events.slice(2, 6));
    expect(transcript.items.filter((item) => item.kind === "message")).toHaveLength(1);
    transcript.append(events.slice(8));
    expect(transcript.items.filter((item) => item.kind === "note" && item.type === "gap")).toMatchObject([{ text: "Events 7 to 8 are missing here" }]);
  });
  it("says the same whether it came in one piece or the end before the beginning", () => {
    const whole = folded(log()).items;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 15 }), fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1 }), (cut, steps) => {
        const events = log();
        const late = new Transcript();
        for (let at = cut, i = 0; at < events.length; i++) {
          const step = steps[i % steps.length] ?? 1;
          late.append(events.slice(at, at + step));
          at += step;
        }
        late.prepend(folded(events.slice(0, cut)));
        const settled = (item: (typeof whole)[number]) => (item.kind === "tool" ? { ...item, duration_ms: 0 } : item);
        // A message or an output that the cut goes through stays in two parts, with one text.
        const text = (items: typeof whole) => items.map((item) => ("text" in item && item.kind !== "note" ? item.text : "")).join("").replaceAll("HelHello", "Hello").replaceAll("HelloHello", "Hello");
        expect(text(late.items)).toBe(text(whole));
        for (const kind of ["task", "tool", "permission"] as const) expect(late.items.filter((item) => item.kind === kind).map(settled)).toEqual(whole.filter((item) => item.kind === kind).map(settled));
      }),
    );
  });
});
