/** Owns which adapters there are; each is loaded when an agent first needs it. */

import type { AgentLaunch } from "../runner/spec.ts";
import type { Adapter } from "./adapter.ts";

const ADAPTERS: Readonly<Record<AgentLaunch["adapter"], () => Promise<Adapter>>> = {
  claude: async () => (await import("./claude.ts")).claude,
  codex: async () => (await import("./codex.ts")).codex,
  acp: async () => (await import("./acp.ts")).acp,
  custom: async () => (await import("./custom.ts")).custom,
};

/** Every adapter's name. */
export const ADAPTER_NAMES = Object.keys(ADAPTERS) as AgentLaunch["adapter"][];

/** The adapter of that name. */
export function loadAdapter(name: AgentLaunch["adapter"]): Promise<Adapter> {
  return ADAPTERS[name]();
}
