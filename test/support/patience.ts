/** Owns how long tests wait: whatever a test waits for may take a minute, as machines are noisy, and what never comes fails all the same. */

import { vi } from "vitest";

const MS = 60_000;
const { waitFor, waitUntil } = vi;

type Options = number | { timeout?: number; interval?: number } | undefined;
function patient(options: Options): { timeout: number; interval?: number } {
  const given = typeof options === "number" ? { timeout: options } : (options ?? {});
  return { ...given, timeout: Math.max(MS, given.timeout ?? 0) };
}

vi.waitFor = (look, options) => waitFor(look, patient(options));
vi.waitUntil = (look, options) => waitUntil(look, patient(options));
