/** Owns `client.sessions.history`: a session's whole log as a chain of blocks, and what proves it. */

import { sessionHistory, type SessionHistory } from "../protocol/history.ts";
import { ApiError, ProtocolError } from "../core/errors.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource } from "../core/resource.ts";
import { retryDelay } from "../core/retry.ts";
import { api } from "../core/transport.ts";
import { splitBlocks } from "../core/verify.ts";

/** Times in a row that an export which breaks off is taken up again without a block in between. */
const PATIENCE = 8;

export class SessionHistories extends Resource {
  /** The heads of the chain, as the session's object and the database remember them. */
  get(id: string, options?: RequestOptions): Promise<SessionHistory> {
    return this.transport.json("GET", api`/sessions/${id}/history`, parse, {}, options);
  }

  /**
   * The blocks of the history, first to last, as they are hashed: a header line, then an event a line. An export that breaks off goes on
   * with the block that it was at. Throws where a block cannot be read, with the block in `details`.
   */
  async *blocks(id: string, options: RequestOptions = {}): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    let next = 1;
    for (let failures = 0; ; ) {
      try {
        const response = await this.transport.send("GET", api`/sessions/${id}/export`, (answer) => Promise.resolve(answer), { query: { first: next }, accept: "application/jsonl" }, options);
        if (!response.body) throw new ProtocolError("The export has no body");
        for await (const block of splitBlocks(response.body)) {
          yield block;
          next++;
          failures = 0;
        }
        return;
      } catch (error) {
        failures++;
        if (options.signal?.aborted || failures > PATIENCE || (error instanceof ApiError && error.status < 500)) throw error;
        // A body that breaks off throws the runtime's own error: a cut line, too.
        await this.transport.sleep(retryDelay(error, failures, PATIENCE, this.transport.random()) ?? 250 * failures, options.signal);
      }
    }
  }
}

function parse(value: unknown): SessionHistory {
  const parsed = sessionHistory.safeParse(value);
  if (!parsed.success) throw new ProtocolError("Expected what is known of a session's history and got something else");
  return parsed.data;
}
