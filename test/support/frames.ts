/** Owns the table of link frames, good beside hostile ones, that is run on Node and inside workerd. */

import { newChildId, newId, type CommandBody, type EventItem } from "../../sdk/protocol/index.ts";

const T0 = Date.UTC(2026, 10, 21);
export const sessionId = newId("session", T0);
export const runnerId = newId("runner", T0);
export const taskId = newChildId("task", sessionId, T0);
export const runId = newChildId("run", sessionId, T0);
export const permissionId = newChildId("permission", sessionId, T0);
const at = new Date(T0).toISOString();

export const log: EventItem = { at, type: "log", data: { stream: "stdout", text: "hello" } };
const hello = { type: "hello", version: 2, session_id: sessionId, runner_id: runnerId, epoch: 1, journal: { first: 0, last: 0 }, last_command: 0, run_id: null };
const events = (...items: unknown[]) => ({ type: "events", from: 1, task_id: taskId, run_id: runId, items });
const asked = { tool: "Bash", input: { command: "ls" }, summary: "ls", risk: "low", reasons: [], permission_id: permissionId };

/** Frames from a runner: `field` is the path that the complaint must name, absent where the frame is good. */
export const runnerFrames: { name: string; frame: unknown; field?: string }[] = [
  { name: "hello", frame: hello },
  { name: "events with a log", frame: events(log) },
  { name: "events with raw", frame: events({ ...log, raw: { type: "line", deep: [1, null, { a: "b" }] } }) },
  { name: "run.status", frame: events({ at, type: "run.status", data: { status: "completed", exit_code: 0, result: "done", conversation: "c" } }) },
  { name: "permission.requested", frame: events({ at, type: "permission.requested", data: asked }) },
  { name: "command.ack", frame: { type: "command.ack", up_to: 3 } },
  { name: "nothing", frame: null, field: "frame" },
  { name: "an array in a frame", frame: [hello], field: "frame" },
  { name: "a string", frame: "hello", field: "frame" },
  { name: "an unknown type", frame: { type: "goodbye" }, field: "type" },
  { name: "a prototype's name as type", frame: { type: "__proto__" }, field: "type" },
  { name: "hello with an unknown field", frame: { ...hello, admin: true }, field: "admin" },
  { name: "hello of a foreign id", frame: { ...hello, session_id: taskId }, field: "session_id" },
  { name: "hello with epoch 0", frame: { ...hello, epoch: 0 }, field: "epoch" },
  { name: "hello with a fraction", frame: { ...hello, last_command: 1.5 }, field: "last_command" },
  { name: "hello with a number past 2^53", frame: { ...hello, last_command: 2 ** 60 }, field: "last_command" },
  { name: "events without items", frame: events(), field: "items" },
  { name: "events from 0", frame: { ...events(log), from: 0 }, field: "from" },
  { name: "too many items", frame: events(...Array.from({ length: 1_001 }, () => log)), field: "items" },
  { name: "an event of the object's own", frame: events({ at, type: "session.status", data: { status: "terminated", reason: null } }), field: "items.0.type" },
  { name: "an answer given by a runner", frame: events({ at, type: "permission.answered", data: { permission_id: permissionId, status: "approved", by: null, reason: null, scope: "once" } }), field: "items.0.type" },
  { name: "a log of an unknown stream", frame: events({ ...log, data: { stream: "stdin", text: "x" } }), field: "items.0.data.stream" },
  { name: "a text over the limit", frame: events({ ...log, data: { stream: "stdout", text: "x".repeat(65_537) } }), field: "items.0.data.text" },
  { name: "a time that is none", frame: events({ ...log, at: "yesterday" }), field: "items.0.at" },
  { name: "an item with a seq of its own", frame: events({ ...log, seq: 7 }), field: "items.0.seq" },
  { name: "a risk that is none", frame: events({ at, type: "permission.requested", data: { ...asked, risk: "none" } }), field: "items.0.data.risk" },
  { name: "usage below zero", frame: events({ at, type: "usage", data: { input_tokens: -1, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0, reasoning_tokens: 0, cost_usd: null, model: null } }), field: "items.0.data.input_tokens" },
  { name: "an ack below zero", frame: { type: "command.ack", up_to: -1 }, field: "up_to" },
];

const command = (body: unknown) => ({ type: "command", id: 1, epoch: 1, body });
const start: CommandBody = { kind: "task.start", task_id: taskId, run_id: runId, attempt: 1, prompt: "hi", timeout_seconds: 60, conversation: null };
const settings = { edit_mode: "off", rules: [{ tool: "Bash", verdict: "ask" }] };

/** Frames from the object. */
export const objectFrames: { name: string; frame: unknown; field?: string }[] = [
  { name: "welcome", frame: { type: "welcome", version: 2, epoch: 1, last: 0, settings } },
  { name: "events.ack", frame: { type: "events.ack", up_to: 10 } },
  { name: "task.start", frame: command(start) },
  { name: "task.cancel", frame: command({ kind: "task.cancel", run_id: runId, why: "timeout", grace_seconds: 10 }) },
  { name: "permission.answer", frame: command({ kind: "permission.answer", permission_id: permissionId, run_id: runId, decision: "denied", reason: "no", scope: "once" }) },
  { name: "settings", frame: command({ kind: "settings", settings }) },
  { name: "stop", frame: command({ kind: "stop", reason: "released" }) },
  { name: "error", frame: { type: "error", error: { code: "bad_request", message: "no" } } },
  { name: "a command of unknown kind", frame: command({ kind: "shell", command: "rm -rf /" }), field: "body.kind" },
  { name: "a command with id 0", frame: { ...command(start), id: 0 }, field: "id" },
  { name: "a start without a prompt", frame: command({ ...start, prompt: undefined }), field: "body.prompt" },
  { name: "a start with an unknown field", frame: command({ ...start, sudo: true }), field: "body.sudo" },
  { name: "an answer that is neither", frame: command({ kind: "permission.answer", permission_id: permissionId, run_id: runId, decision: "maybe", reason: null, scope: "once" }), field: "body.decision" },
  { name: "a rule with a verdict that is none", frame: { type: "welcome", version: 2, epoch: 1, last: 0, settings: { edit_mode: "off", rules: [{ verdict: "perhaps" }] } }, field: "settings.rules.0.verdict" },
];
