/** Owns the sealing of sessions' own model keys under their tenant's data key, while they wait for a runner. */

import type { KeySafe } from "../../durable-objects/index.ts";
import type { Storage } from "../storage/storage.ts";

/** What a sealed key is bound to: moved to another session, it does not open. */
const nameOf = (sessionId: string) => `waiting-keys/${sessionId}`;

export function keySafeOf(storage: () => Pick<Storage, "dataKey">): KeySafe {
  return {
    async seal(tenantId, sessionId, key) {
      const data = await storage().dataKey(tenantId);
      return btoa(String.fromCharCode(...(await data.seal(nameOf(sessionId), new TextEncoder().encode(key)))));
    },
    async open(tenantId, sessionId, sealed) {
      const data = await storage().dataKey(tenantId);
      return new TextDecoder().decode(await data.open(nameOf(sessionId), Uint8Array.from(atob(sealed), (char) => char.charCodeAt(0))));
    },
  };
}
