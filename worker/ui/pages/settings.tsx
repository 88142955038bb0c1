/** Owns the settings: one part at a time, each with an address of its own. */

import "../styles/settings.css";
import { useRoute } from "preact-iso";
import { useEffect, useRef } from "preact/hooks";
import { Own } from "../components/own.tsx";
import { Agents } from "./settings/agents.tsx";
import { Hosts } from "./settings/hosts.tsx";
import { Keys, RunnerTokens } from "./settings/keys.tsx";
import { Budgets, Prices } from "./settings/money.tsx";
import { Rules } from "./settings/rules.tsx";
import { Voice } from "./settings/voice.tsx";

const PARTS = [
  { path: "agents", name: "Agents", part: Agents },
  { path: "hosts", name: "Hosts and runners", part: Hosts },
  { path: "keys", name: "API keys", part: Keys },
  { path: "runner-tokens", name: "Runner tokens", part: RunnerTokens },
  { path: "rules", name: "Permission rules", part: Rules },
  { path: "budgets", name: "Budgets", part: Budgets },
  { path: "prices", name: "Prices", part: Prices },
  { path: "voice", name: "Voice", part: Voice },
] as const;

export function Settings() {
  // Hosts have a short address of their own, too.
  const [, first, second] = useRoute().path.split("/");
  const at = first === "hosts" ? first : second;
  const here = PARTS.find(({ path }) => path === at) ?? PARTS[0];
  const Part = here.part;
  const tabs = useRef<HTMLElement>(null);
  // On a narrow page only some are in sight.
  useEffect(() => tabs.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }), [here]);
  return (
    <main class="page settings">
      <header class="page-head"><h1>Settings</h1><div class="row phone-only"><Own /></div></header>
      <nav ref={tabs} class="tabs" aria-label="Settings">{PARTS.map(({ path, name }) => <a key={path} href={`/settings/${path}`} aria-current={path === here.path ? "page" : undefined}>{name}</a>)}</nav>
      <Part />
    </main>
  );
}
