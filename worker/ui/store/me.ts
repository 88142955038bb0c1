/** Owns who is signed in, and the first key of a machine that came in the address. */

import { signal } from "@preact/signals";
import { signIn, SignInError, signOut, whoAmI, type SignedIn } from "../client.ts";

/** `undefined`: not yet known; null: signed out. */
export const me = signal<SignedIn | null | undefined>(undefined);
/** Why nobody is signed in, in words; null where there is nothing to say. */
export const trouble = signal<string | null>(null);

/** `npm start` prints an address with the machine's first key behind the `#`, which no server sees. It leaves the address at once. */
function keyInAddress(): string | null {
  const key = /^#key=(mk_[\w-]+)$/.exec(location.hash)?.[1] ?? null;
  if (key) history.replaceState(null, "", location.pathname + location.search);
  return key;
}

export async function enter(apiKey: string | null = keyInAddress()): Promise<void> {
  trouble.value = null;
  try {
    me.value = apiKey === null ? await whoAmI() : await signIn(apiKey);
  } catch (error) {
    me.value = null;
    if (!(error instanceof SignInError)) throw error;
    if (apiKey !== null || error.status !== 401) trouble.value = error.message;
  }
}

export async function leave(): Promise<void> {
  await signOut().catch(() => {});
  // Everything that was read belongs to the one who left.
  location.assign("/");
}
