/** Owns the types of `build.mjs`, which runs before anything is built. */

export function buildRuntime(outdir?: string, options?: { types?: boolean }): Promise<void>;
