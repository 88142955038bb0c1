/** Owns the secrets of sessions: in memory only, from the first spawn until the session is forgotten. */

import { Secret, type SpawnSpec } from "../../sdk/protocol/index.ts";

/** What a session's runners get on their stdin. A restart of the daemon empties it. */
export class SessionSecrets {
  readonly #keys = new Map<string, Secret>();

  /** Keeps what came with a spawn; absent secrets leave what is held. */
  keep(sessionId: string, secrets: SpawnSpec["secrets"]): void {
    if (secrets?.api_key !== undefined) this.#keys.set(sessionId, new Secret(secrets.api_key));
  }
  /** The JSON line for a runner's stdin. */
  line(sessionId: string): string {
    const key = this.#keys.get(sessionId);
    return JSON.stringify(key ? { api_key: key.reveal() } : {});
  }
  forget(sessionId: string): void {
    this.#keys.delete(sessionId);
  }
}
