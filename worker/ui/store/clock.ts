/** Owns the page's slow clock, by which "3 min ago" and "stuck" grow without an event. */

import { signal } from "@preact/signals";

export const clock = signal(Date.now());
setInterval(() => (clock.value = Date.now()), 15_000);
