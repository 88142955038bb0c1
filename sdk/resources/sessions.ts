/** Owns `client.sessions`: create, read, change and end sessions; their events and their files. */

import type * as z from "zod";
import type { Capsule, CapsuleAsked, Event, Session, SessionFork, SessionPatch, SessionResume, SessionSuspend, sessionAsk, SessionStatus } from "../protocol/index.ts";
import type { Pages } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { labelQuery, Resource, resource, type ListParams } from "../core/resource.ts";
import type { EventStream } from "../core/stream.ts";
import { api, type Transport } from "../core/transport.ts";
import { SessionAttachments } from "./attachments.ts";
import { SessionFiles } from "./files.ts";
import type { Live, LiveHandlers } from "../core/live.ts";
import { SessionHistories } from "./history.ts";
import { readLog, type LogParams, type StreamCallOptions } from "./log.ts";

export type SessionCreateParams = z.input<typeof sessionAsk>;
export interface SessionListParams extends ListParams {
  status?: SessionStatus | undefined;
  /** Sessions that have all of these. */
  labels?: Readonly<Record<string, string>> | undefined;
}

/** Sessions of the key's tenant. */
export class Sessions extends Resource {
  readonly files: SessionFiles;
  readonly attachments: SessionAttachments;
  readonly history: SessionHistories;
  constructor(transport: Transport) {
    super(transport);
    this.files = new SessionFiles(transport);
    this.attachments = new SessionAttachments(transport);
    this.history = new SessionHistories(transport);
  }
  /** Creates a session, which at once asks its pool for a runner. */
  create(params: SessionCreateParams, options?: RequestOptions): Promise<Session> {
    return this.transport.json("POST", api`/sessions`, resource<Session>, { body: params }, options);
  }
  get(id: string, options?: RequestOptions): Promise<Session> {
    return this.transport.json("GET", api`/sessions/${id}`, resource<Session>, {}, options);
  }
  /** Newest first. */
  list({ labels, ...query }: SessionListParams = {}, options?: RequestOptions): Pages<Session> {
    return this.pages<Session>(api`/sessions`, { ...query, labels: labelQuery(labels) }, options);
  }
  update(id: string, patch: SessionPatch, options?: RequestOptions): Promise<Session> {
    return this.transport.json("PATCH", api`/sessions/${id}`, resource<Session>, { body: patch }, options);
  }
  /** Ends the session for good: its tasks are canceled and its runner goes; its workspace and its log stay. */
  terminate(id: string, options?: RequestOptions): Promise<Session> {
    return this.transport.json("DELETE", api`/sessions/${id}`, resource<Session>, {}, options);
  }
  /** The session's log over a WebSocket, for pages that watch many at once. Opens at once; reconnects by itself until it is closed or the log ends. */
  live(id: string, { after, tail, types, stream, raw }: Omit<LogParams, "follow">, handlers: LiveHandlers): Live {
    return this.transport.live(api`/sessions/${id}/events`, { types, stream, raw }, { sessionId: id, after: after ?? null, tail }, handlers);
  }
  /** Suspends the session; answers at once, `suspending`. Throws `ConflictError` where it cannot be, with what would work in `details`. */
  suspend(id: string, params: SessionSuspend = {}, options?: RequestOptions): Promise<Session> {
    return this.transport.json("POST", api`/sessions/${id}/suspend`, resource<Session>, { body: params }, options);
  }
  /** Resumes the session; answers at once, `resuming`. What was kept and lost is in its log as `session.receipt`. */
  resume(id: string, params: SessionResume = {}, options?: RequestOptions): Promise<Session> {
    return this.transport.json("POST", api`/sessions/${id}/resume`, resource<Session>, { body: params }, options);
  }
  /** Asks for a capsule now; answers at once. It is there when `workspace.synced` names it in the log, after `seq`; `workspace.sync_failed` says why not. Throws `ConflictError` where no runner can take one. */
  takeCapsule(id: string, options?: RequestOptions): Promise<CapsuleAsked> {
    return this.transport.json("POST", api`/sessions/${id}/capsules`, resource<CapsuleAsked>, {}, options);
  }
  getCapsule(id: string, capsuleId: string, options?: RequestOptions): Promise<Capsule> {
    return this.transport.json("GET", api`/sessions/${id}/capsules/${capsuleId}`, resource<Capsule>, {}, options);
  }
  /** States that the session can be resumed or forked from, newest first. */
  capsules(id: string, params: ListParams = {}, options?: RequestOptions): Pages<Capsule> {
    return this.pages<Capsule>(api`/sessions/${id}/capsules`, { ...params }, options);
  }
  /** A new session that goes on from a point of this one: an event (`seq`), a task's end, a capsule, or the latest state. */
  fork(id: string, params: SessionFork = {}, options?: RequestOptions): Promise<Session> {
    return this.transport.json("POST", api`/sessions/${id}/fork`, resource<Session>, { body: params }, options);
  }
  /** The session's log; with `follow`, until the session has ended. */
  events(id: string, params: LogParams = {}, options?: StreamCallOptions): EventStream<Event> {
    return readLog(this.transport, api`/sessions/${id}/events`, params, options);
  }
}
