/** Owns what a person sets for this browser alone: the theme, and that nobody is signed in any more. */

import { leave, me } from "../store/me.ts";
import { theme, type Theme } from "../store/theme.ts";
import { Icon } from "./icon.tsx";

const NEXT: Readonly<Record<Theme, Theme>> = { system: "light", light: "dark", dark: "system" };
const ICONS = { system: "contrast", light: "sun", dark: "moon" } as const;
const NAMES: Readonly<Record<Theme, string>> = { system: "System theme", light: "Light theme", dark: "Dark theme" };

export function Own() {
  return (
    <>
      <button class="quiet" type="button" onClick={() => (theme.value = NEXT[theme.value])} title={`Theme: ${theme.value}`}><Icon name={ICONS[theme.value]} /><span>{NAMES[theme.value]}</span></button>
      <button class="quiet" type="button" onClick={() => void leave()} title={`Signed in with ${me.value?.key.name ?? ""}`}><Icon name="leave" /><span>Sign out</span></button>
    </>
  );
}
