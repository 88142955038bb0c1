import { expect, it } from "vitest";
import type { AgentLaunch } from "../runner/spec.ts";
import { ADAPTER_NAMES, continuesTurns, loadAdapter } from "./registry.ts";

const launch = (adapter: AgentLaunch["adapter"], more: Partial<AgentLaunch> = {}): AgentLaunch => ({ name: "mine", adapter, binary: "mine", args: [], env: {}, ...more });

it.each(ADAPTER_NAMES)("what is said of %s before it is loaded is what it says itself", async (name) => {
  const adapter = await loadAdapter(name);
  expect(adapter.name).toBe(name);
  expect(continuesTurns(launch(name))).toBe(adapter.continues(launch(name)));
});

it("an agent of one's own goes on with its turns where the host's file says so", async () => {
  for (const name of ["custom", "acp"] as const) {
    const mine = launch(name, { continues: true, state_files: [".mine"] });
    const adapter = await loadAdapter(name);
    expect([continuesTurns(mine), adapter.continues(mine), adapter.stateFiles(mine)]).toEqual([true, true, [".mine"]]);
  }
});

it("names of each agent's home only what holds its conversations, never where a login would lie", async () => {
  for (const name of ADAPTER_NAMES) for (const path of (await loadAdapter(name)).stateFiles(launch(name))) expect(path).not.toMatch(/^\/|\.\.|auth|credential|^\.claude$|^\.codex$/);
});
