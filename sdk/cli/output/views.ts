/** Owns how each resource looks to people: its columns in a list and its fields alone. */

import type { ApiKey, Capsule, FileEntry, Host, Permission, Run, Runner, RunnerToken, Session, Task, Usage } from "../../protocol/index.ts";
import { age, count, labels, size, span, type Column } from "./table.ts";
import type { Style } from "./terminal.ts";

const STATUS: Readonly<Record<string, Style>> = {
  active: "green", suspended: "yellow", suspending: "yellow", resuming: "yellow", running: "green", completed: "green", online: "green", approved: "green", idle: "green", busy: "green",
  paused: "yellow", disabled: "red", pending: "yellow", starting: "yellow", draining: "yellow", assigned: "yellow", timeout: "red",
  failed: "red", denied: "red", lost: "red", offline: "red", tainted: "red", canceled: "dim", terminated: "dim", destroyed: "dim",
};
/** Colour of a state. */
export function styleOf(status: string): Style | null {
  return STATUS[status] ?? null;
}
const RISK: Readonly<Record<string, Style>> = { low: "green", medium: "yellow", high: "red", critical: "red" };
export function riskStyle(risk: string): Style {
  return RISK[risk] ?? "red";
}

type Fields = (readonly [name: string, value: string | number | null | undefined])[];
const status = <T extends { status: string }>(): Column<T> => ({ title: "STATUS", value: (row) => row.status, style: (row) => styleOf(row.status) });
const id = <T extends { id: string }>(): Column<T> => ({ title: "ID", value: (row) => row.id });
const created = <T extends { created_at: string }>(): Column<T> => ({ title: "AGE", value: (row, now) => age(row.created_at, now), right: true });

export const sessionColumns: readonly Column<Session>[] = [
  id(), { title: "NAME", value: (s) => s.name, max: 24 }, { title: "AGENT", value: (s) => s.agent }, status(),
  { title: "QUEUED", value: (s) => s.queued_tasks, right: true }, { title: "ASKS", value: (s) => s.pending_permissions, right: true },
  { title: "RUNNER", value: (s) => s.runner && `${s.runner.provider} (${s.runner.state})` },
  { title: "MODEL", value: (s) => s.model, wide: true }, { title: "POOL", value: (s) => s.pool, wide: true }, { title: "HOST", value: (s) => s.host_id, wide: true },
  { title: "LABELS", value: (s) => labels(s.labels), wide: true }, created(), { title: "REASON", value: (s) => s.status_reason, max: 60 },
];
export function sessionFields(s: Session, now: number): Fields {
  return [
    ["id", s.id], ["name", s.name], ["agent", s.agent], ["model", s.model], ["status", s.status], ["reason", s.status_reason], ["labels", labels(s.labels)],
    ["suspended", s.suspension && `${s.suspension.strategy} (${s.suspension.cause}) since ${s.suspension.since}`], ["held until", s.suspension?.demoted_at], ["interrupted", s.interrupted ? "its task goes on when it is resumed" : null],
    ["lifecycle", s.lifecycle_mode === "on_demand" ? `on_demand (idle after ${span(s.idle_timeout_seconds * 1_000)})` : s.lifecycle_mode], ["capsule", s.capsule_id], ["forked from", s.forked_from && `${s.forked_from.session_id} at event ${s.forked_from.seq}`],
    ["pool", s.pool], ["provider", s.provider], ["selector", s.selector], ["host", s.host_id], ["workspace", s.workspace_id], ["directory", s.directory?.path ?? null],
    ["runner", s.runner && `${s.runner.id} (${s.runner.state}, ${s.runner.provider})`], ["isolation", s.runner?.isolation], ["edit mode", s.edit_mode], ["approved", s.approvals?.map(({ scope, tool, keys, summary }) => `${tool} ${keys?.join(", ") || summary} (${scope})`).join("; ")],
    ["model key", s.has_api_key ? "given" : null], ["env", s.env_names.join(", ")], ["task", s.task_id], ["queued tasks", s.queued_tasks], ["pending permissions", s.pending_permissions],
    ["usage", usageText(s.usage)], ["events", s.last_seq], ["created", `${s.created_at} (${age(s.created_at, now)} ago)`], ["ended", s.ended_at],
  ];
}

export const capsuleColumns: readonly Column<Capsule>[] = [
  id(), { title: "SEQ", value: (c) => c.seq, right: true }, { title: "WHY", value: (c) => c.why }, { title: "TASK", value: (c) => c.task_id }, { title: "FILES", value: (c) => c.workspace.files, right: true },
  { title: "SIZE", value: (c) => size(c.workspace.bytes), right: true }, { title: "SENT", value: (c) => size(c.workspace.sent_bytes + (c.state?.sent_bytes ?? 0)), right: true, wide: true },
  { title: "TORN", value: (c) => (c.torn ? "yes" : null), wide: true }, { title: "LEFT OUT", value: (c) => c.left_out.length || null, right: true, wide: true },
  { title: "MANIFEST", value: (c) => c.workspace.manifest_id, wide: true }, created(),
];

export function capsuleFields(c: Capsule): Fields {
  return [
    ["id", c.id], ["stands for", `the log up to event ${c.seq}`], ["task", c.task_id], ["files", `${c.workspace.files}, ${size(c.workspace.bytes)}; ${size(c.workspace.sent_bytes + (c.state?.sent_bytes ?? 0))} sent`],
    ["conversation", c.conversation], ["left out", c.left_out.length || null], ["manifest", c.workspace.manifest_id], ["created", c.created_at],
  ];
}

export const taskColumns: readonly Column<Task>[] = [
  id(), status(), { title: "ATTEMPTS", value: (t) => t.attempts, right: true },
  { title: "TIME", value: (t, now) => (t.started_at ? span((t.ended_at ? Date.parse(t.ended_at) : now) - Date.parse(t.started_at)) : null), right: true },
  { title: "SESSION", value: (t) => t.session_id, wide: true }, { title: "LABELS", value: (t) => labels(t.labels), wide: true },
  created(), { title: "PROMPT", value: (t) => t.prompt, max: 50 }, { title: "REASON", value: (t) => t.error?.message ?? t.waiting_for, max: 60 },
];
export function taskFields(t: Task, now: number): Fields {
  return [
    ["id", t.id], ["session", t.session_id], ["status", t.status], ["waiting for", t.waiting_for], ["error", t.error && `${t.error.message} (${t.error.code})`], ["hint", t.error?.hint],
    ["attempts", `${t.attempts} of ${t.max_retries + 1}`], ["next attempt", t.next_attempt_at], ["exit code", t.exit_code], ["timeout", span(t.timeout_seconds * 1_000)],
    ["labels", labels(t.labels)], ["continues", t.continue_from], ["conversation", t.conversation], ["usage", t.usage && usageText(t.usage)],
    ["created", `${t.created_at} (${age(t.created_at, now)} ago)`], ["started", t.started_at], ["ended", t.ended_at], ["prompt", t.prompt], ["result", t.result],
  ];
}

export const runColumns: readonly Column<Run>[] = [
  { title: "ATTEMPT", value: (r) => r.attempt, right: true }, id(), status(), { title: "RUNNER", value: (r) => r.runner_id }, { title: "HOST", value: (r) => r.host_id, wide: true },
  { title: "EXIT", value: (r) => r.exit_code, right: true }, created(), { title: "ERROR", value: (r) => r.error?.message, max: 60 },
];

export const permissionColumns: readonly Column<Permission>[] = [
  id(), status(), { title: "RISK", value: (p) => p.risk, style: (p) => riskStyle(p.risk) }, { title: "TOOL", value: (p) => p.tool, max: 20 },
  { title: "SESSION", value: (p) => p.session_id, wide: true }, { title: "TASK", value: (p) => p.task_id, wide: true },
  { title: "BY", value: (p) => p.decision && (p.decision.by_name ?? p.decision.by), wide: true }, created(), { title: "WHAT", value: (p) => p.summary, max: 70 },
];
export function permissionFields(p: Permission, now: number): Fields {
  return [
    ["id", p.id], ["status", p.status], ["risk", p.risk], ["tool", p.tool], ["what", p.summary], ["why", p.reasons.join("; ")], ["session", p.session_id], ["task", p.task_id],
    ["answered by", p.decision && (p.decision.by_name ?? p.decision.by)], ["scope", p.decision?.scope], ["reason", p.decision?.reason],
    ["created", `${p.created_at} (${age(p.created_at, now)} ago)`], ["ended", p.ended_at], ["input", JSON.stringify(p.input)],
  ];
}

export const runnerColumns: readonly Column<Runner>[] = [
  id(), status(), { title: "PROVIDER", value: (r) => r.provider }, { title: "SESSION", value: (r) => r.session_id }, { title: "HOST", value: (r) => r.host_id, wide: true },
  { title: "POOL", value: (r) => r.pool }, { title: "ISOLATION", value: (r) => r.isolation, wide: true }, created(), { title: "REASON", value: (r) => r.status_reason, max: 50 },
];
export function runnerFields(r: Runner, now: number): Fields {
  return [
    ["id", r.id], ["status", r.status], ["reason", r.status_reason], ["session", r.session_id], ["host", r.host_id], ["pool", r.pool], ["provider", r.provider],
    ["isolation", r.isolation], ["epoch", r.epoch], ["created", `${r.created_at} (${age(r.created_at, now)} ago)`], ["ended", r.ended_at],
  ];
}

export const hostColumns: readonly Column<Host>[] = [
  id(), { title: "NAME", value: (h) => h.name, max: 30 }, status(), { title: "POOL", value: (h) => h.pool },
  { title: "RUNNERS", value: (h) => `${h.runners}/${h.max_runners}`, right: true }, { title: "PROVIDERS", value: (h) => available(h.providers) }, { title: "AGENTS", value: (h) => available(h.agents), max: 40 },
  { title: "SYSTEM", value: (h) => `${h.os}/${h.arch}, ${h.cpus} CPU, ${size(h.memory_mb * 1_048_576)}`, wide: true },
  { title: "VERSION", value: (h) => h.version, wide: true }, { title: "LABELS", value: (h) => labels(h.labels), wide: true },
  { title: "SEEN", value: (h, now) => (h.status === "offline" ? age(h.last_seen_at, now) : "now"), right: true },
];
function available(things: readonly { name: string; available: boolean }[]): string {
  return things.filter((thing) => thing.available).map((thing) => thing.name).join(",");
}
export function hostFields(h: Host, now: number): Fields {
  const detail = (kind: string) => (thing: { name: string; available: boolean; detail: string }) => [`${kind} ${thing.name}`, `${thing.available ? "yes" : "no"}, ${thing.detail}`] as const;
  return [
    ["id", h.id], ["name", h.name], ["status", h.status], ["pool", h.pool], ["runners", `${h.runners} of ${h.max_runners}`], ["system", `${h.os}/${h.arch}, ${h.cpus} CPUs, ${size(h.memory_mb * 1_048_576)}`],
    ["version", h.version], ["labels", labels(h.labels)], ["seen", `${age(h.last_seen_at, now)} ago`], ["default provider", h.default_provider],
    ...h.providers.map(detail("provider")), ...h.agents.map(detail("agent")), ...(h.browse_roots ?? []).map((root) => ["opens", root] as const),
  ];
}

export const keyColumns: readonly Column<ApiKey>[] = [
  id(), { title: "NAME", value: (k) => k.name, max: 30 }, { title: "KEY", value: (k) => `${k.display}…` }, { title: "SCOPES", value: (k) => k.scopes.join(",") },
  { title: "STATE", value: (k, now) => (k.revoked_at ? "revoked" : k.expires_at && Date.parse(k.expires_at) <= now ? "expired" : "valid"), style: (k) => (k.revoked_at ? "dim" : null) },
  { title: "EXPIRES", value: (k) => k.expires_at, wide: true }, { title: "USED", value: (k, now) => age(k.last_used_at, now), right: true }, created(),
];

export const tokenColumns: readonly Column<RunnerToken>[] = [
  id(), { title: "NAME", value: (t) => t.name, max: 30 }, { title: "TOKEN", value: (t) => `${t.display}…` }, { title: "POOL", value: (t) => t.pool },
  { title: "STATE", value: (t) => (t.revoked_at ? "revoked" : "valid") }, { title: "LABELS", value: (t) => labels(t.labels), wide: true }, created(),
];

export const fileColumns: readonly Column<FileEntry>[] = [
  { title: "KIND", value: (f) => f.kind }, { title: "SIZE", value: (f) => (f.kind === "file" ? size(f.size) : null), right: true },
  { title: "CHANGED", value: (f, now) => age(f.modified_at, now), right: true }, { title: "NAME", value: (f) => (f.kind === "directory" ? `${f.name}/` : f.name) },
];

/** Tokens and cost, short: `12.3k in (10.0k cached) · 1.2k out · $0.0095`. */
export function usageText(u: Usage): string {
  const input = u.input_tokens + u.cache_read_tokens + u.cache_write_tokens;
  if (input + u.output_tokens === 0 && u.cost_usd === null) return "none";
  const cached = u.cache_read_tokens > 0 ? ` (${count(u.cache_read_tokens)} cached)` : "";
  return `${count(input)} in${cached} · ${count(u.output_tokens)} out${u.cost_usd === null ? "" : ` · $${u.cost_usd.toFixed(4)}`}`;
}
