/** Owns showing what a write changed: one hunk between the lines that both texts begin and end with, bounded. */

const MAX_LINES = 200;
const MAX_CHARS = 20_000;
const CONTEXT = 3;

/** A unified hunk; empty where nothing changed. Not minimal: distant changes come as one hunk, which costs linear time. */
export function hunk(before: string, after: string): string {
  if (before === after) return "";
  const [a, b] = [lines(before), lines(after)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const from = Math.max(0, start - CONTEXT);
  const tail = Math.min(CONTEXT, end);
  const body = [
    ...a.slice(from, start).map((line) => ` ${line}`),
    ...a.slice(start, a.length - end).map((line) => `-${line}`),
    ...b.slice(start, b.length - end).map((line) => `+${line}`),
    ...a.slice(a.length - end, a.length - end + tail).map((line) => ` ${line}`),
  ];
  const shown = body.length <= MAX_LINES ? body : [...body.slice(0, MAX_LINES), `… ${body.length - MAX_LINES} more lines`];
  const head = `@@ -${from + 1},${a.length - end + tail - from} +${from + 1},${b.length - end + tail - from} @@`;
  return `${head}\n${shown.join("\n")}`.slice(0, MAX_CHARS).toWellFormed();
}

function lines(text: string): string[] {
  const parts = text.split("\n");
  if (parts.at(-1) === "") parts.pop();
  return parts;
}
