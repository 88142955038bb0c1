/** Owns the choice of light or dark: the system's until the person says otherwise. */

import { computed, effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
const KEY = "marionette.theme";
const kept = localStorage.getItem(KEY);
const system = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(system.matches);
system.addEventListener("change", ({ matches }) => (systemDark.value = matches));
export const theme = signal<Theme>(kept === "light" || kept === "dark" ? kept : "system");

effect(() => {
  const chosen = theme.value;
  if (chosen === "system") {
    delete document.documentElement.dataset["theme"];
    localStorage.removeItem(KEY);
  } else {
    document.documentElement.dataset["theme"] = chosen;
    localStorage.setItem(KEY, chosen);
  }
});

/** What is seen: for what is drawn by hand. */
export const dark = computed(() => (theme.value === "system" ? systemDark.value : theme.value === "dark"));
