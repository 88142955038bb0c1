/** Owns which adapters there are; each is loaded when an agent first needs it. */

import type { AgentLaunch } from "../runner/spec.ts";
import type { Adapter } from "./adapter.ts";

const ADAPTERS: Readonly<Record<AgentLaunch["adapter"], () => Promise<Adapter>>> = {
  claude: async () => (await import("./claude.ts")).claude,
  codex: async () => (await import("./codex.ts")).codex,
  acp: async () => (await import("./acp.ts")).acp,
  marco: async () => (await import("./marco.ts")).marco,
  custom: async () => (await import("./custom.ts")).custom,
};

/** Said in the runner's first words, before any adapter is loaded; each adapter's own `continues` agrees. */
const CONTINUES: ReadonlySet<AgentLaunch["adapter"]> = new Set(["claude", "codex", "marco"]);

/** Whether an agent that was killed in mid-turn goes on with that turn. */
export function continuesTurns(launch: Pick<AgentLaunch, "adapter" | "continues">): boolean {
  return launch.continues ?? CONTINUES.has(launch.adapter);
}

/** Every adapter's name. */
export const ADAPTER_NAMES = Object.keys(ADAPTERS) as AgentLaunch["adapter"][];

/** The adapter of that name. */
export function loadAdapter(name: AgentLaunch["adapter"]): Promise<Adapter> {
  return ADAPTERS[name]();
}
