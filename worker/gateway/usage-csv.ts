/** Owns usage as CSV (RFC 4180): a line a group, and one for all. */

import type { UsageReport, UsageRow } from "../../sdk/protocol/index.ts";

const COLUMNS = [
  "requests", "failed_requests", "unpriced_requests", "estimated_requests", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_usd", "cache_hit_rate",
  "median_duration_ms", "median_ttft_ms",
] as const satisfies readonly (keyof UsageRow)[];

/** A cell; what a spreadsheet would take for a formula (in some languages also in wide signs) is marked as text, and semicolons and tabs, which some cut at, are quoted. */
function cell(value: string | number | null): string {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r\n＝＋－＠]/.test(value) ? `'${value}` : value;
  return /[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function usageCsv({ group_by, rows, total }: UsageReport): string {
  const line = (row: UsageRow) => [cell(row.key), ...COLUMNS.map((name) => cell(row[name]))].join(",");
  return [[cell(group_by), ...COLUMNS].join(","), ...rows.map(line), line({ ...total, key: "total" })].map((text) => `${text}\r\n`).join("");
}
