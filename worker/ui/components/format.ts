/** Owns how numbers and times are written for people. */

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
const UNITS: readonly [Intl.RelativeTimeFormatUnit, number][] = [["day", 86_400], ["hour", 3_600], ["minute", 60]];

/** `3 min. ago`; for less than a minute `now`. */
export function ago(at: string, now: number): string {
  const seconds = (now - Date.parse(at)) / 1_000;
  for (const [unit, size] of UNITS) if (seconds >= size) return relative.format(-Math.floor(seconds / size), unit);
  return "now";
}

/** `in 3 hr`; for less than a minute `now`. */
export function ahead(at: string, now: number): string {
  const seconds = (Date.parse(at) - now) / 1_000;
  for (const [unit, size] of UNITS) if (seconds >= size) return relative.format(Math.floor(seconds / size), unit);
  return "now";
}

/** `12 min left`; `no longer` where it has passed. */
export function until(at: string, now: number): string {
  const seconds = (Date.parse(at) - now) / 1_000;
  if (seconds <= 0) return "no longer";
  for (const [unit, size] of UNITS) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit === "minute" ? "min" : unit}${unit !== "minute" && seconds >= 2 * size ? "s" : ""} left`;
  return "less than a minute left";
}

export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** US dollars; small amounts with more digits, so that a cheap call is not nothing. */
export function dollars(usd: number): string {
  return `$${usd === 0 ? "0" : usd < 0.01 ? usd.toFixed(4) : usd < 1 ? usd.toFixed(3) : usd.toFixed(2)}`;
}

export function count(n: number): string {
  return n < 1_000 ? String(n) : n < 1_000_000 ? `${(n / 1_000).toFixed(n < 10_000 ? 1 : 0)}k` : `${(n / 1_000_000).toFixed(1)}M`;
}

export function bytes(n: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let i = 0;
  for (; n >= 1_000 && i < units.length - 1; i++) n /= 1_000;
  return `${i === 0 ? n : n.toFixed(n < 10 ? 1 : 0)} ${units[i]}`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
export function time(at: string): string {
  return clock.format(new Date(at));
}

const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
export function moment(at: string): string {
  return whole.format(new Date(at));
}

/** Bidirectional controls and other signs that change how the text around them reads are shown as what they are. */
export function plain(text: string): string {
  return text.replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, (sign) => (sign === "\u200d" ? sign : `‹U+${sign.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0")}›`));
}
