/** Owns what may happen to a session, in any order, for the property tests of its machine. */

import fc from "fast-check";
import { newChildId, newId, SUSPEND_STRATEGIES } from "../../sdk/protocol/index.ts";
import { nextDeadline } from "./machine.ts";
import { SESSION, T0, type Simulation } from "./simulation.ts";

type Act = [string, number, number];
export const act = fc.tuple(
  fc.constantFrom(
    "task", "task", "retrying task", "cancel", "retry", "execute", "ask", "ask", "answer", "withdraw", "update", "take back", "key", "terminate", "grant", "grant", "stale grant", "queue", "refuse",
    "wanted", "spawned", "spawn failed", "spawn refused", "renew", "up", "up", "up", "down", "stopped", "gone", "broken", "call failed", "call done", "running", "completed", "completed",
    "failed", "lost", "timed out", "suspend", "suspend", "suspend as", "resume", "resume from", "capsule", "capsule", "capsule", "sync failed", "checkpoint", "checkpointed", "held", "held", "hold failed", "fallback", "thawed", "thaw gone", "synced",
    "restored", "restored", "restore failed", "run suspended", "long silence", "other run", "stale journal", "ack", "wake", "tick", "tick", "deadline", "deadline",
  ),
  fc.nat(1_000_000),
  fc.nat(7),
);

export function perform(world: Simulation, [name, n, k]: Act): void {
  const { state } = world;
  const pick = world.created[n % Math.max(1, world.created.length)] ?? newChildId("task", SESSION, T0);
  const permission = [...world.permissions.keys()][n % Math.max(1, world.permissions.size)] ?? newChildId("permission", SESSION, T0);
  const epoch = Math.max(1, state.counters.epoch - (k === 0 ? 1 : 0));
  const runner_id = state.attachment?.runner_id ?? newId("runner", T0);
  const call = world.calls[n % Math.max(1, world.calls.length)];
  const known = world.permissions.get(permission);
  const older = world.capsules[n % Math.max(1, world.capsules.length)];
  const acts: Record<string, () => unknown> = {
    "task": () => world.task({ timeout_seconds: 1 + (n % 600) }),
    "retrying task": () => world.task({ max_retries: k, timeout_seconds: 60, ...(world.tasks.get(pick) && { continue_from: pick }) }),
    "cancel": () => world.change("task.cancel", pick),
    "retry": () => world.change("task.retry", pick),
    "execute": () => world.change("task.execute", pick),
    "ask": () => state.running && world.asks(),
    "answer": () => world.answer(permission, k % 4 ? "approved" : "denied", (["once", "turn", "session"] as const)[k % 3]),
    "withdraw": () => known && world.journal({ at: "", type: "permission.withdrawn", data: { permission_id: permission } }),
    "update": () => world.feed({ type: "session.update", patch: { edit_mode: "turn" } }),
    "take back": () => world.feed({ type: "session.update", patch: { approvals: [...world.permissions.keys()].filter((_, i) => (n >> i % 16) % 2 === 0) } }),
    "key": () => world.feed({ type: "session.update", patch: { has_api_key: true } }),
    "terminate": () => k === 0 && n % 5 === 0 && world.feed({ type: "session.terminate", by: "anna" }),
    "grant": () => world.grant(),
    "stale grant": () => world.grant(epoch),
    "queue": () => world.feed({ type: "lease.queued", epoch, reason: "full" }),
    "refuse": () => world.feed({ type: "lease.refused", epoch, message: "no" }),
    "wanted": () => world.feed({ type: "lease.wanted", epoch }),
    "spawned": () => world.spawned(),
    "spawn failed": () => world.feed({ type: "spawn.answered", runner_id, answer: { ok: false, retryable: true, error: { code: "provider_failed", message: "busy" } } }),
    "spawn refused": () => world.feed({ type: "spawn.answered", runner_id, answer: { ok: false, retryable: false, error: { code: "image_missing", message: "none" } } }),
    "renew": () => world.feed({ type: "spawn.renewed", runner_id, new_runner_id: newId("runner", world.now), token_hash: "y" }),
    "up": () => state.attachment?.runner_id && world.feed({ type: "link.up", epoch, last_command: Math.min(k, state.attachment.next_command - 1) }),
    "down": () => world.feed({ type: "link.down", epoch, stopped: false }),
    "stopped": () => world.feed({ type: "link.down", epoch, stopped: true }),
    "gone": () => world.feed({ type: "runner.gone", epoch, runner_id, reason: "killed" }),
    "broken": () => world.feed({ type: "link.broken", epoch, reason: "journal" }),
    "call failed": () => call && world.feed({ type: "call.failed", key: call.key, message: "down" }),
    "call done": () => call && world.feed({ type: "call.done", key: call.key }),
    "running": () => world.reports("running"),
    "completed": () => world.reports("completed", { conversation: `c${n}` }),
    "failed": () => world.reports("failed"),
    "lost": () => world.reports("lost"),
    "timed out": () => world.reports("timeout"),
    "other run": () => world.feed({ type: "journal", epoch, to: state.position + 1, task_id: pick, run_id: newChildId("run", SESSION, T0), items: [{ at: "", type: "run.status", data: { status: "completed" } }], seq: 0 }),
    "stale journal": () => world.feed({ type: "journal", epoch: epoch - 1, to: 99, task_id: pick, run_id: state.running?.run.id ?? null, items: [{ at: "", type: "run.status", data: { status: "failed" } }], seq: 0 }),
    "ack": () => world.feed({ type: "command.ack", epoch, up_to: k }),
    "wake": () => world.feed({ type: "woken", linked: k > 3 }),
    "suspend": () => world.suspend(),
    "suspend as": () => world.suspend(SUSPEND_STRATEGIES[n % SUSPEND_STRATEGIES.length]),
    "resume": () => world.resume(),
    "resume from": () => k === 0 && older && world.feed({ type: "session.resume", by: "anna", options: {}, from: { ...older, seq: 1, conversation: "old" }, has_api_key: false }),
    "capsule": () => state.suspending?.capsule?.outcome === "waiting" && state.attachment?.met && world.capsule(),
    "checkpoint": () => world.feed({ type: "capsule.take", id: newChildId("capsule", SESSION, world.now) }),
    "checkpointed": () => state.attachment?.capsule && world.synced(state.attachment.capsule, "manual"),
    "sync failed": () => state.suspending?.capsule && world.journal({ at: "", type: "workspace.sync_failed", data: { capsule_id: state.suspending.capsule.id, why: "suspend", error: { code: "sync_failed", message: "away" } } }),
    "held": () => state.suspending && world.feed({ type: "host.suspended", runner_id, answer: { ok: true, strategy: state.suspending.strategy, detail: "" } }),
    "hold failed": () => world.feed({ type: "host.suspended", runner_id, answer: { ok: false, error: { code: "provider_failed", message: "no freezer" } } }),
    "fallback": () => world.feed({ type: "host.suspended", runner_id, answer: { ok: true, strategy: k % 2 ? "snapshot" : "terminate_preserve_storage", detail: "full" } }),
    "thawed": () => world.feed({ type: "host.resumed", runner_id, answer: { ok: true } }),
    "thaw gone": () => world.feed({ type: "host.resumed", runner_id, answer: { ok: false, gone: true, error: { code: "runner_lost", message: "gone" } } }),
    "synced": () => state.attachment?.met && world.synced(),
    "restored": () => state.attachment?.met && world.restored(),
    "restore failed": () => state.attachment?.met && world.journal({ at: "", type: "workspace.restore_failed", data: { capsule_id: null, error: { code: "restore_failed", message: "gone" } } }),
    "run suspended": () => world.reports("canceled", { error: { code: "suspended", message: "stopped" }, conversation: "mid" }),
    "long silence": () => world.tick(125_000),
    "tick": () => world.tick(n % 90_000),
    "deadline": () => world.tick(Math.max(0, (nextDeadline(state) ?? world.now) - world.now)),
  };
  acts[name]?.();
}
