/** Owns the tests of how a session's own events look: its suspension, its receipts, and what becomes of its files. */

import { describe, expect, it } from "vitest";
import { newChildId, newId, type Event, type EventData, type EventType } from "../../protocol/index.ts";
import { Renderer } from "./render.ts";

const session_id = newId("session", 1);
const capsule_id = newChildId("capsule", session_id, 1);

/** What is said of these events, without colours. */
function shown(verbose: boolean, ...events: { [T in EventType]: [T, EventData<T>] }[EventType][]): string {
  let text = "";
  const render = new Renderer({ data: (part) => (text += part), note: (part) => (text += part), paint: (_, part) => part, colour: false, verbose });
  events.forEach(([type, data], i) => render.event({ session_id, seq: i + 1, at: "2026-11-21T10:00:00.000Z", task_id: null, run_id: null, type, data } as Event));
  render.end();
  return text;
}

describe("a session's log", () => {
  it("says when it is suspended and why, what a resume waits for, and what that kept and lost, once", () => {
    const receipt: EventData<"session.receipt"> = { capsule_id, strategy: "pause", from_host_id: null, to_host_id: null, survived: [], lost: [], text: "This session was suspended and has been resumed.\nLost:\n- network connections" };
    const text = shown(false,
      ["session.status", { status: "suspending", reason: "nothing to do for 900 s" }], ["session.status", { status: "suspended", reason: "nothing to do for\n900 s" }],
      ["session.status", { status: "resuming", reason: null }], ["session.status", { status: "resuming", reason: "no host is online" }], ["session.status", { status: "active", reason: null }],
      ["session.receipt", receipt], ["log", { stream: "system", text: receipt.text }], ["log", { stream: "system", text: "another word" }],
    );
    expect(text).toBe(`session suspended: nothing to do for 900 s\n… waiting: no host is online\n${receipt.text}\nanother word\n`);
  });

  it("says when files could not be kept or brought back, and only with -v that they were", () => {
    const error = { code: "quota_exceeded", message: "3.0 MiB are 2.0 MiB more than allowed", hint: "delete big.iso" } as const;
    expect(shown(false, ["workspace.sync_failed", { capsule_id, why: "task_end", error }])).toBe("✗ the workspace was not saved: 3.0 MiB are 2.0 MiB more than allowed (quota_exceeded)\n  hint: delete big.iso\n");
    expect(shown(false, ["workspace.restore_failed", { capsule_id, error: { code: "restore_failed", message: "chunk 7 is gone" } }])).toBe("✗ the workspace was not restored: chunk 7 is gone (restore_failed)\n");
    const kept: EventData<"workspace.synced"> = { capsule_id, why: "task_end", workspace: { manifest_id: newId("manifest", 1), files: 2, bytes: 2_048, sent_bytes: 1 }, state: null, torn: false, left_out: [], duration_ms: 1 };
    expect(shown(false, ["workspace.synced", kept])).toBe("");
    expect(shown(true, ["workspace.synced", kept])).toBe(`files kept: 2, 2.0 KiB, in ${capsule_id}\n`);
  });
});
