/** Owns `client.events`: what happens in all sessions of the tenant, live. */

import type { Event, EventType } from "../protocol/index.ts";
import { labelQuery, Resource } from "../core/resource.ts";
import type { EventStream } from "../core/stream.ts";
import { api } from "../core/transport.ts";
import type { Live, LiveHandlers } from "../core/live.ts";
import { followBus, type StreamCallOptions } from "./log.ts";

export interface EventParams {
  types?: readonly EventType[] | undefined;
  /** Of sessions that have all of these labels. */
  labels?: Readonly<Record<string, string>> | undefined;
  /** Events with a greater `cursor`; without it, what comes from now on. */
  after?: number | undefined;
}

/** The tenant-wide bus: states, permissions, usage; not the output of the agents. */
export class Events extends Resource {
  /** The bus over a WebSocket; see `sessions.live`. */
  live({ types, labels, after }: EventParams, handlers: LiveHandlers): Live {
    return this.transport.live(api`/events`, { types, labels: labelQuery(labels) }, { sessionId: null, after: after ?? null }, handlers);
  }
  /** Never ends by itself; resumes by `cursor`. */
  follow({ types, labels, after }: EventParams = {}, options: StreamCallOptions = {}): EventStream<Event> {
    return followBus(this.transport, api`/events`, { types, labels: labelQuery(labels) }, after, options);
  }
}
