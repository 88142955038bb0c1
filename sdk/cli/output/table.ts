/** Owns tables: aligned columns, ages, sizes, bounded cells. */

import { oneLine, widthOf, type Paint, type Style } from "./terminal.ts";

export interface Column<T> {
  title: string;
  value(row: T, now: number): string | number | null | undefined;
  style?(row: T): Style | null;
  /** Only with `-o wide`. */
  wide?: true;
  /** Cut at so many characters, unless wide. */
  max?: number;
  right?: true;
}

/** The rows as lines, titles first; a null is shown as `-`. */
export function table<T>(columns: readonly Column<T>[], rows: readonly T[], settings: { wide: boolean; paint: Paint; now: number }): string[] {
  const shown = columns.filter((column) => settings.wide || !column.wide);
  const cells = rows.map((row) =>
    shown.map((column) => {
      const value = column.value(row, settings.now);
      const text = value === null || value === undefined || value === "" ? "-" : oneLine(String(value));
      return settings.wide || column.max === undefined ? text : cut(text, column.max);
    }),
  );
  const widths = shown.map((column, i) => Math.max(column.title.length, ...cells.map((line) => widthOf(line[i] ?? ""))));
  const titles = shown.map((column, i) => pad(column.title, widths[i] ?? 0, column.right)).join("  ");
  const lines = cells.map((line, r) =>
    line
      .map((text, i) => {
        const column = shown[i];
        const row = rows[r];
        const style = column?.style && row !== undefined ? column.style(row) : null;
        const padded = pad(text, widths[i] ?? 0, column?.right);
        return style ? settings.paint(style, padded) : padded;
      })
      .join("  ")
      .trimEnd(),
  );
  return [settings.paint("bold", titles.trimEnd()), ...lines];
}

function pad(text: string, width: number, right: true | undefined): string {
  const gap = " ".repeat(Math.max(0, width - widthOf(text)));
  return right ? gap + text : text + gap;
}

/** At most `max` characters, the last of them `…` where something was cut. */
function cut(text: string, max: number): string {
  const chars = Array.from(text);
  return chars.length <= max ? text : `${chars.slice(0, max - 1).join("")}…`;
}

/** Time since an RFC 3339 time, in one unit: `3m`. */
export function age(at: string | null, now: number): string | null {
  return at === null ? null : span(Math.max(0, now - Date.parse(at)));
}

/** A length of time in its largest unit. */
export function span(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** Bytes in binary units. */
export function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1_024 && unit < units.length - 1) {
    value /= 1_024;
    unit++;
  }
  return `${unit === 0 || value >= 10 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** A count in thousands: `12.3k`. */
export function count(value: number): string {
  if (value < 1_000) return String(value);
  return value < 1_000_000 ? `${(value / 1_000).toFixed(1)}k` : `${(value / 1_000_000).toFixed(1)}M`;
}

/** Labels as `k=v,k=v`. */
export function labels(value: Readonly<Record<string, string>>): string {
  return Object.entries(value)
    .map(([key, text]) => `${key}=${text}`)
    .join(",");
}
