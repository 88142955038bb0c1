/** Owns the unified diff of a file change, from hunks or from the two texts that an agent gives. */

import { isAbsolute, relative } from "node:path";

export interface Hunk {
  oldStart: number;
  oldLines: number;
  newStart: number;
  newLines: number;
  /** Each begins with ' ', '-' or '+'. */
  lines: readonly string[];
}

const CONTEXT = 3;

/** A diff with its file header; `/dev/null` stands for the side that is not there. */
export function unified(path: string, hunks: readonly Hunk[], sides: { created?: boolean; deleted?: boolean } = {}): string {
  const head = `--- ${sides.created ? "/dev/null" : `a/${path}`}\n+++ ${sides.deleted ? "/dev/null" : `b/${path}`}\n`;
  return head + hunks.map((h) => `@@ -${h.oldStart},${h.oldLines} +${h.newStart},${h.newLines} @@\n${h.lines.join("\n")}\n`).join("");
}

/** The change between two texts as one hunk: what they share at both ends is left out but for three lines. Null is no file. */
export function diffTexts(path: string, before: string | null, after: string | null): string {
  const old = split(before);
  const now = split(after);
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head++;
  let tail = 0;
  while (tail < old.length - head && tail < now.length - head && old.at(-1 - tail) === now.at(-1 - tail)) tail++;
  const from = Math.max(0, head - CONTEXT);
  const kept = Math.min(tail, CONTEXT);
  const lines = [
    ...old.slice(from, head).map((line) => ` ${line}`),
    ...old.slice(head, old.length - tail).map((line) => `-${line}`),
    ...now.slice(head, now.length - tail).map((line) => `+${line}`),
    ...old.slice(old.length - tail, old.length - tail + kept).map((line) => ` ${line}`),
  ];
  const oldLines = old.length - tail + kept - from;
  const newLines = now.length - tail + kept - from;
  const hunk = { oldStart: oldLines === 0 ? 0 : from + 1, oldLines, newStart: newLines === 0 ? 0 : from + 1, newLines, lines };
  return unified(path, head === old.length && head === now.length ? [] : [hunk], { created: before === null, deleted: after === null });
}

function split(text: string | null): string[] {
  if (text === null || text === "") return [];
  const parts = text.split("\n");
  if (parts.at(-1) === "") parts.pop();
  return parts;
}

/** A path as the log names it: relative where it lies inside the workspace. */
export function workspacePath(workspace: string, path: string): string {
  if (!isAbsolute(path)) return path;
  const inside = relative(workspace, path);
  return inside === "" || inside.startsWith("..") || isAbsolute(inside) ? path : inside;
}
