/** Owns what waits for a person: the pending permission requests of all sessions, as they come and as anyone answers them. */

import { computed, signal } from "@preact/signals";
import type { Permission } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { alertOf } from "./alerts.ts";
import { onBus } from "./fleet.ts";

export const pending = signal<readonly Permission[]>([]);
export const waiting = computed(() => pending.value.length);
export const read = signal(false);
export const failure = signal<unknown>(null);

async function reread(): Promise<void> {
  try {
    const all: Permission[] = [];
    for await (const permission of client.permissions.list({ status: "pending", limit: 200 })) {
      all.push(permission);
      if (all.length >= 1_000) break;
    }
    // Oldest first: who has waited longest is answered first.
    const gone = answered;
    pending.value = all.filter(({ id }) => !gone.has(id)).sort((a, b) => (a.id < b.id ? -1 : 1));
    failure.value = null;
  } catch (error) {
    failure.value = error;
  }
  read.value = true;
}

/** Answered here or elsewhere, while a list that is on its way may still show them. */
const answered = new Set<string>();

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
  void reread();
}
export const rereadPermissions = reread;
