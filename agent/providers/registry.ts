/** Owns the list of providers: each is loaded only when it is asked for, with the vendor's library that it needs. */

import type { ProviderContext } from "./context.ts";
import type { Provider } from "./provider.ts";

const ENTRIES = {
  docker: async (context: ProviderContext): Promise<Provider> => {
    // Bundled into one module, the CommonJS packages below dockerode ask for a directory that modules do not define.
    if (!("__dirname" in globalThis)) Object.assign(globalThis, { __dirname: import.meta.dirname });
    return new (await import("./docker.ts")).DockerProvider(context);
  },
  process: async (context: ProviderContext): Promise<Provider> => new (await import("./process.ts")).ProcessProvider(context),
} as const;

export type ProviderName = keyof typeof ENTRIES;
/** In the order of preference. */
export const PROVIDER_NAMES = Object.keys(ENTRIES) as ProviderName[];

/** Makes a provider. Throws where its library is missing. */
export function makeProvider(name: ProviderName, context: ProviderContext): Promise<Provider> {
  return ENTRIES[name](context);
}
