/** Owns the runner's look at the directory that it was given: it is the one that its host has checked, whatever was swapped meanwhile. */

import { statSync } from "node:fs";
import type { RunnerSpec } from "./spec.ts";

/** Why the runner must not work there, in words; null where all is well. Nothing of an agent has run before this. */
export function directoryFault({ directory, workspace }: Pick<RunnerSpec, "directory" | "workspace">): string | null {
  if (!directory) return null;
  try {
    const { dev, ino } = statSync(workspace, { bigint: true });
    return `${dev}:${ino}` === directory.identity ? null : `what is shown as ${workspace} is not the directory ${directory.path} that the host has checked: it was replaced meanwhile`;
  } catch (error) {
    return `the directory ${directory.path} cannot be looked at: ${String(error)}`;
  }
}
