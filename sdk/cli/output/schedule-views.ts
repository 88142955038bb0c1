/** Owns how schedules look to people, and the words for when the next run is. */

import type { Schedule } from "../../protocol/schedule.ts";
import { age, labels, span, type Column } from "./table.ts";
import { styleOf } from "./views.ts";

/** A time to come in its two largest units: `3 h 12 min`. */
export function lengthText(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1_000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const two = (a: number, unit: string, b: number, smaller: string) => (b === 0 ? `${a} ${unit}` : `${a} ${unit} ${b} ${smaller}`);
  if (seconds < 60) return `${seconds} s`;
  if (hours < 1) return minutes < 10 ? two(minutes, "min", seconds % 60, "s") : `${minutes} min`;
  if (hours < 48) return two(hours, "h", minutes % 60, "min");
  return two(Math.floor(hours / 24), "d", hours % 24, "h");
}

/** `in 3 h 12 min, Mon 09:00 Europe/Berlin`; with the date where it is more than six days away. */
export function whenText(at: string | null, timezone: string, now: number): string | null {
  if (at === null) return null;
  const due = Date.parse(at);
  const far = due - now > 6 * 86_400_000;
  const year = due - now > 300 * 86_400_000;
  const format = (timeZone: string) =>
    new Intl.DateTimeFormat("en-GB", { timeZone, weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(far && { day: "numeric", month: "short" }), ...(year && { year: "numeric" }) }).format(due).replaceAll(",", "");
  const left = due <= now ? "now" : `in ${lengthText(due - now)}`;
  try {
    return `${left}, ${format(timezone)} ${timezone}`;
  } catch {
    // A zone that the server knows and this machine does not.
    return `${left}, ${format("UTC")} UTC`;
  }
}

export const scheduleColumns: readonly Column<Schedule>[] = [
  { title: "ID", value: (s) => s.id }, { title: "NAME", value: (s) => s.name, max: 24 }, { title: "AGENT", value: (s) => s.agent }, { title: "STATUS", value: (s) => s.status, style: (s) => styleOf(s.status) },
  { title: "CRON", value: (s) => s.cron }, { title: "NEXT RUN", value: (s, now) => whenText(s.next_run_at, s.timezone, now) },
  { title: "LAST", value: (s, now) => s.last_run && `${s.last_run.status}, ${age(s.last_run.at, now)} ago` }, { title: "FAILED", value: (s) => s.consecutive_failures || null, right: true },
  { title: "SESSION", value: (s) => s.session_id, wide: true }, { title: "LABELS", value: (s) => labels(s.labels), wide: true }, { title: "PROMPT", value: (s) => s.prompt, max: 40 },
  { title: "REASON", value: (s) => (s.status === "active" ? null : s.status_reason), max: 60 },
];

export function scheduleFields(s: Schedule, now: number): (readonly [string, string | number | null])[] {
  const failing = [s.pause_on_failure ? "pauses" : null, s.disable_on_failure === null ? null : `is disabled after ${s.disable_on_failure} in a row`].filter(Boolean).join(", ");
  return [
    ["id", s.id], ["name", s.name], ["status", s.status], ["reason", s.status_reason], ["cron", `${s.cron} (${s.timezone})`], ["next run", whenText(s.next_run_at, s.timezone, now)],
    ["last run", s.last_run && `${s.last_run.status}, ${age(s.last_run.at, now)} ago, ${s.last_run.task_id}`], ["failed in a row", s.consecutive_failures || null], ["on failure", failing || "goes on"],
    ["conversation", s.continue ? "every run continues it" : "every run begins a fresh one"], ["agent", s.agent], ["model", s.model], ["provider", s.provider], ["labels", labels(s.labels)],
    ["session", s.session_id], ["workspace", s.workspace_id], ["timeout", span(s.timeout_seconds * 1_000)], ["retries", s.max_retries], ["created", `${s.created_at} (${age(s.created_at, now)} ago)`], ["prompt", s.prompt],
  ];
}
