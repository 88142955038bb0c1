/** Owns `client.tasks`: give a session prompts, watch them, wait for them, stop and repeat them. */

import type * as z from "zod";
import { TASK_ENDED, type Event, type Run, type Task, type taskCreate, type TaskStatus } from "../protocol/index.ts";
import { ConnectionError } from "../core/errors.ts";
import type { Pages } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { BACKOFF_MS } from "../core/retry.ts";
import { labelQuery, Resource, resource, type ListParams } from "../core/resource.ts";
import type { EventStream } from "../core/stream.ts";
import { api } from "../core/transport.ts";
import { readLog, type LogParams, type StreamCallOptions } from "./log.ts";

export type TaskCreateParams = z.input<typeof taskCreate>;
export interface TaskListParams extends ListParams {
  session_id?: string | undefined;
  status?: TaskStatus | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
}

/** Tasks of the key's tenant. */
export class Tasks extends Resource {
  /** Queues a prompt; a session's tasks run one at a time, in order. */
  create(sessionId: string, params: TaskCreateParams, options?: RequestOptions): Promise<Task> {
    return this.transport.json("POST", api`/sessions/${sessionId}/tasks`, resource<Task>, { body: params }, options);
  }
  get(id: string, options?: RequestOptions): Promise<Task> {
    return this.transport.json("GET", api`/tasks/${id}`, resource<Task>, {}, options);
  }
  /** Newest first. */
  list({ labels, ...query }: TaskListParams = {}, options?: RequestOptions): Pages<Task> {
    return this.pages<Task>(api`/tasks`, { ...query, labels: labelQuery(labels) }, options);
  }
  /** The task's events; with `follow`, until it has ended. */
  logs(id: string, params: LogParams = {}, options?: StreamCallOptions): EventStream<Event> {
    return readLog(this.transport, api`/tasks/${id}/logs`, params, options);
  }
  /** Every attempt at the task, first to last. */
  runs(id: string, options?: RequestOptions): Pages<Run> {
    return this.pages<Run>(api`/tasks/${id}/runs`, {}, options);
  }
  /** Interrupts the agent; a task that waits is canceled at once. `ConflictError` where it has ended. */
  cancel(id: string, options?: RequestOptions): Promise<Task> {
    return this.transport.json("POST", api`/tasks/${id}/cancel`, resource<Task>, {}, options);
  }
  /** A new attempt of a task that ended badly, at the end of the queue. */
  retry(id: string, options?: RequestOptions): Promise<Task> {
    return this.transport.json("POST", api`/tasks/${id}/retry`, resource<Task>, {}, options);
  }
  /** Starts a pending task without waiting for its backoff. */
  execute(id: string, options?: RequestOptions): Promise<Task> {
    return this.transport.json("POST", api`/tasks/${id}/execute`, resource<Task>, {}, options);
  }
  /** The task once it has ended, however it did: see its `status`. Bounded by the signal alone, and costs no polling. */
  async wait(id: string, options: StreamCallOptions = {}): Promise<Task> {
    const { idempotency_key: _, ...reading } = options;
    let position: number | undefined;
    for (;;) {
      const task = await this.get(id, reading);
      if (TASK_ENDED.has(task.status)) return task;
      let ended = false;
      const stream = this.logs(id, { follow: true, types: ["task.status"], ...(position !== undefined && { after: position }) }, options);
      try {
        for await (const event of stream) {
          position = event.seq;
          ended = event.type === "task.status" && TASK_ENDED.has(event.data.status);
          if (ended) break;
        }
      } catch (error) {
        if (options.signal?.aborted || !(error instanceof ConnectionError)) throw error;
      }
      // A log that ended before its task did (the session moved): look again, but not in a tight loop.
      if (!ended) await this.transport.sleep(BACKOFF_MS, options.signal);
    }
  }
}
