/** Owns how benchmarks are reported: one table of work, result, raw limit measured in the same run, and their ratio. */

export interface Figure {
  work: string;
  result: string;
  /** The same work without Marionette, in the same run. */
  raw: string;
  /** result / raw, where both are the same kind of number. */
  ratio: number | null;
  /** What the project asks of itself. */
  goal: string;
  met: boolean;
}

/** `12,345` for large numbers, three digits for small ones. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toPrecision(3);
}

/** The q-quantile of values (nearest rank). */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN;
}

export function print(figures: readonly Figure[]): string {
  const rows = [["work", "result", "raw limit", "ratio", "goal", ""], ...figures.map((f) => [f.work, f.result, f.raw, f.ratio === null ? "–" : f.ratio.toFixed(2), f.goal, f.met ? "met" : "MISSED"])];
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  return [line(rows[0] ?? []), `|${widths.map((w) => "-".repeat(w + 2)).join("|")}|`, ...rows.slice(1).map(line)].join("\n");
}
