/** Owns the chart over time: uPlot in the page's colours, with the same figures as a table for whoever cannot see it. */

import "uplot/dist/uPlot.min.css";
import { useEffect, useRef } from "preact/hooks";
import Uplot from "uplot";
import { theme } from "../store/theme.ts";

export interface Series {
  name: string;
  /** One for each time; null where there is none. */
  values: readonly (number | null)[];
}
const COLOURS = ["#5468e7", "#e08a2e", "#2f9e6d", "#c2499d", "#3a97c9", "#8b6bd6"];
const HEIGHT = 260;

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

/** `times`, and `from` and `to` of the axis: seconds since the epoch. Bars, since each value stands for a span of time. */
export function TimeChart({ times, series, format, label, from, to }: { times: readonly number[]; series: readonly Series[]; format: (value: number) => string; label: string; from: number; to: number }) {
  const place = useRef<HTMLDivElement>(null);
  const shade = theme.value;
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
        axes: [look, { ...look, size: 70, values: (_, splits) => splits.map((value) => format(value)) }],
        series: [{}, ...series.map(({ name }, i): Uplot.Series => ({ label: name, stroke: COLOURS[i % COLOURS.length] ?? "gray", fill: `${COLOURS[i % COLOURS.length]}55`, ...(bars && { paths: bars }), points: { show: false }, value: (_, value: number | null) => (value === null ? "–" : format(value)) }))],
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
  }, [times, series, shade, format, from, to]);
  return (
    <figure class="chart" aria-label={label}>
      <div ref={place} aria-hidden="true" />
      <table class="visually-hidden">
        <caption>{label}</caption>
        <thead><tr><th>Time</th>{series.map(({ name }) => <th key={name}>{name}</th>)}</tr></thead>
        <tbody>{times.map((time, row) => <tr key={time}><td>{new Date(time * 1_000).toISOString().slice(0, 10)}</td>{series.map(({ name, values }) => <td key={name}>{values[row] === null || values[row] === undefined ? "" : format(values[row])}</td>)}</tr>)}</tbody>
      </table>
    </figure>
  );
}
