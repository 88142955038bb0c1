/** Owns how a run of chaos is told: one table of faults, survivals and recovery times, and the seed that makes it happen again. */

import { quantile } from "../bench/table.ts";
import type { ChaosReport } from "./harness.ts";

const ms = (value: number) => (value < 1_000 ? `${Math.round(value)} ms` : `${(value / 1_000).toFixed(1)} s`);

export function tableOf(report: ChaosReport): string {
  const rows = [["fault", "struck", "survived", "recovery p50", "max", ""]];
  for (const { name, what, struck, survived, recovery, lacks } of report.faults) {
    const times = recovery.length === 0 ? ["–", "–"] : [ms(quantile(recovery, 0.5)), ms(Math.max(...recovery))];
    rows.push([name, String(struck), struck === 0 ? "–" : String(survived), ...times, lacks === null ? what : `not struck: ${lacks}`]);
  }
  const all = report.faults.flatMap(({ recovery }) => recovery);
  rows.push(["all", String(report.struck), String(report.faults.reduce((sum, { survived }) => sum + survived, 0)), all.length === 0 ? "–" : ms(quantile(all, 0.5)), all.length === 0 ? "–" : ms(Math.max(...all)), ""]);
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const line = (row: string[]) => `| ${row.map((cell, i) => (i > 0 && i < 5 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join(" | ")} |`;
  const [head = [], ...rest] = rows;
  const runs = Object.entries(report.runs).map(([status, count]) => `${count} ${status}`).join(", ");
  return [
    line(head), `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...rest.map(line), "",
    `${report.sessions} sessions, ${report.tasks} tasks, all ended once; runs: ${runs}; ${report.events.toLocaleString("en-US")} events; ${report.permissions} answers. ${ms(report.elapsed_ms)}.`,
    report.broken.length === 0 ? "Everything held: every event once and in order, one run at a time, files and answers as they were given, every row as its object." : `${report.broken.length} things did NOT hold:\n${report.broken.slice(0, 50).map((each) => `  ${each}`).join("\n")}`,
    `Seed ${report.seed}: npm run chaos -- --kills ${report.struck} --seed ${report.seed}`,
  ].join("\n");
}
