/** Owns the browser's own notifications: one for what begins to wait while nobody looks at the page. */

import { signal } from "@preact/signals";
import type { Permission } from "../../../sdk/index.ts";

export const alerts = signal<NotificationPermission | "unsupported">(typeof Notification === "undefined" ? "unsupported" : Notification.permission);

export async function askForAlerts(): Promise<void> {
  if (alerts.value !== "unsupported") alerts.value = await Notification.requestPermission();
}

/** Tells of a request, where the page is out of sight and the person has agreed. The text is the call's own words, as text. */
export function alertOf(permission: Permission): void {
  if (!document.hidden || alerts.value !== "granted") return;
  const shown = new Notification(`${permission.tool} waits for you`, { body: permission.summary.slice(0, 200), tag: permission.id, icon: "/favicon.svg" });
  shown.addEventListener("click", () => {
    window.focus();
    location.assign(`/inbox#${permission.id}`);
  });
}
