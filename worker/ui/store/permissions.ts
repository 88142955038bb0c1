/** Owns what waits for a person: the pending permission requests of all sessions, as they come and as anyone answers them. */

import { computed, signal } from "@preact/signals";
import type { Permission } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { alertOf } from "./alerts.ts";
import { onBus, rounds } from "./fleet.ts";

export const pending = signal<readonly Permission[]>([]);
export const waiting = computed(() => pending.value.length);
export const read = signal(false);
export const failure = signal<unknown>(null);

async function reread(): Promise<void> {
  const before = new Set(pending.value.map(({ id }) => id));
  try {
    const all: Permission[] = [];
    for await (const permission of client.permissions.list({ status: "pending", limit: 200 })) {
      all.push(permission);
      if (all.length >= 1_000) break;
    }
    const listed = new Set(all.map(({ id }) => id));
    // What came while the list was on its way may not be in it.
    const since = pending.value.filter(({ id }) => !before.has(id) && !listed.has(id));
    // Oldest first: who has waited longest is answered first.
    pending.value = [...all, ...since].filter(({ id }) => !answered.has(id)).sort((a, b) => (a.id < b.id ? -1 : 1));
    failure.value = null;
  } catch (error) {
    failure.value = error;
  }
  read.value = true;
}

/** Answered here or elsewhere, while a list that is on its way may still show them. */
const answered = new Set<string>();
/** Answered here: nobody is surprised that it goes. */
export const mine = new Set<string>();

export function forget(id: string): void {
  answered.add(id);
  pending.value = pending.value.filter((permission) => permission.id !== id);
}

async function add(id: string): Promise<void> {
  const permission = await client.permissions.get(id).catch(() => null);
  if (permission?.status !== "pending" || answered.has(id) || pending.value.some((each) => each.id === id)) return;
  pending.value = [...pending.value, permission];
  alertOf(permission);
}

let started = false;
export function watchPermissions(): void {
  if (started) return;
  started = true;
  onBus((event) => {
    if (event.type === "permission.requested") void add(event.data.permission_id);
    else if (event.type === "permission.answered" || event.type === "permission.withdrawn") forget(event.data.permission_id);
  });
  // After every reconnection: what was told meanwhile, or could not be read, is in the list.
  rounds.subscribe(() => void reread());
}
export const rereadPermissions = reread;
