/** Owns the chart over time: uPlot in the page's colours, with the same figures as a table for whoever cannot see it. */

import "uplot/dist/uPlot.min.css";
import { useEffect, useMemo, useRef } from "preact/hooks";
import Uplot from "uplot";
import { dark } from "../store/theme.ts";

export interface Series {
  name: string;
  /** One for each time; null where there is none. */
  values: readonly (number | null)[];
}
const COLOURS = ["#5468e7", "#e08a2e", "#2f9e6d", "#c2499d", "#3a97c9", "#8b6bd6"];
const HEIGHT = 260;
const DAY = 86_400;
/** How far apart the axis may be marked, in steps. */
const MARKS = [1, 2, 3, 6, 7, 12, 14, 30, 60];

function axis(): Pick<Uplot.Axis, "stroke" | "grid" | "ticks"> {
  const style = getComputedStyle(document.documentElement);
  const line = style.getPropertyValue("--line").trim();
  // A canvas does not know light-dark(): a probe tells what the page made of it.
  const probe = document.createElement("i");
  probe.style.color = "var(--soft)";
  probe.style.borderColor = "var(--line)";
  document.body.append(probe);
  const { color, borderTopColor } = getComputedStyle(probe);
  probe.remove();
  return { stroke: color, grid: { stroke: borderTopColor || line, width: 1 }, ticks: { stroke: borderTopColor || line, width: 1 } };
}

/** How a time is written where each value stands for so many seconds: days are counted in UTC, hours are shown as the clock here has them. */
function wordsFor(step: number): (time: number) => string {
  const days = step >= DAY;
  const words = new Intl.DateTimeFormat(undefined, days ? { day: "numeric", month: "short", timeZone: "UTC" } : { hour: "2-digit", minute: "2-digit" });
  return (time) => words.format(time * 1_000);
}

/** `times`, and `from` and `to` of the axis: seconds since the epoch; `step`: how many of them a value stands for, as a bar. */
export function TimeChart({ times, series, format, label, from, to, step }: { times: readonly number[]; series: readonly Series[]; format: (value: number) => string; label: string; from: number; to: number; step: number }) {
  const when = useMemo(() => wordsFor(step), [step]);
  const place = useRef<HTMLDivElement>(null);
  const shade = dark.value;
  useEffect(() => {
    const element = place.current;
    if (!element || times.length === 0) return undefined;
    const look = axis();
    const bars = Uplot.paths.bars?.({ size: [0.7, 48] });
    const chart = new Uplot(
      {
        width: element.clientWidth, height: HEIGHT,
        cursor: { y: false }, legend: { live: true },
        scales: { x: { time: true, range: () => [from, to] }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
        ...(step >= DAY && { tzDate: (time: number) => Uplot.tzDate(new Date(time * 1_000), "Etc/UTC") }),
        axes: [{ ...look, incrs: MARKS.map((many) => many * step), values: (_, splits) => splits.map(when) }, { ...look, size: 70, values: (_, splits) => splits.map((value) => format(value)) }],
        series: [{ label: "Time", value: (_, time: number | null) => (time === null ? "–" : when(time)) }, ...series.map(({ name }, i): Uplot.Series => ({ label: name, stroke: COLOURS[i % COLOURS.length] ?? "gray", fill: `${COLOURS[i % COLOURS.length]}55`, ...(bars && { paths: bars }), points: { show: false }, value: (_, value: number | null) => (value === null ? "–" : format(value)) }))],
      },
      [[...times], ...series.map(({ values }) => [...values])],
      element,
    );
    const watcher = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: HEIGHT }));
    watcher.observe(element);
    return () => {
      watcher.disconnect();
      chart.destroy();
    };
  }, [times, series, shade, format, from, to, step, when]);
  return (
    <figure class="chart" aria-label={label}>
      <div ref={place} aria-hidden="true" />
      <table class="visually-hidden">
        <caption>{label}</caption>
        <thead><tr><th>Time</th>{series.map(({ name }) => <th key={name}>{name}</th>)}</tr></thead>
        <tbody>{times.map((time, row) => <tr key={time}><td>{when(time)}</td>{series.map(({ name, values }) => <td key={name}>{values[row] === null || values[row] === undefined ? "" : format(values[row])}</td>)}</tr>)}</tbody>
      </table>
    </figure>
  );
}
