/** Owns what end-to-end tests do over and over: a stack with a host that knows the tests' agents, and its tasks through the SDK. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { Marionette, type Event, type EventData, type EventType, type Permission, type Session, type SessionCreateParams, type Task, type TaskCreateParams } from "../../sdk/index.ts";
import { registerAgents, type RegisteredAgents } from "./agents.ts";
import { startStack, type Stack, type StackHost, type StackOptions } from "./stack.ts";

export interface Scene {
  stack: Stack;
  host: StackHost;
  agents: RegisteredAgents;
  client: Marionette;
  /** A session of the `scripted` agent with the `process` provider, unless told otherwise. */
  session(params?: Partial<SessionCreateParams>): Promise<Session>;
  /** Gives a session a prompt. */
  task(session: Session, prompt: string, params?: Partial<TaskCreateParams>): Promise<Task>;
  /** The task once it has ended. */
  end(task: Task): Promise<Task>;
  /** The whole log of a task, page by page. */
  log(task: Task): Promise<Event[]>;
  /** The `nth` permission that the task asks for, once it is there. */
  asked(task: Task, nth?: number): Promise<Permission>;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts a stack, as `options` say, and one host in it. `config` is added to the host's file. */
export async function startScene(config: object = {}, options: StackOptions = {}): Promise<Scene> {
  // Beside the stack's own directory, which sandboxes are not shown.
  const dir = await mkdtemp(join(tmpdir(), "marionette-agents-"));
  const stack = await startStack(options);
  async function close(): Promise<void> {
    await stack.close();
    await rm(dir, { recursive: true, force: true, maxRetries: 10 });
  }
  try {
    const agents = await registerAgents(dir, { providers: { default: "process" }, ...config });
    const host = await stack.host({ args: agents.args, env: { PATH: `${agents.path}${delimiter}${process.env["PATH"] ?? ""}` } });
    const client = new Marionette({ url: stack.url, apiKey: stack.apiKey });
    return {
      stack, host, agents, client,
      session: (params = {}) => client.sessions.create({ agent: "scripted", ...params }),
      task: (session, prompt, params = {}) => client.tasks.create(session.id, { ...params, prompt }),
      end: (task) => client.tasks.wait(task.id),
      log: (task) => all(client.tasks.logs(task.id)),
      async asked(task, nth = 1) {
        let count = 0;
        for await (const event of client.tasks.logs(task.id, { follow: true, types: ["permission.requested"] })) {
          if (event.type === "permission.requested" && ++count === nth) return client.permissions.get(event.data.permission_id);
        }
        throw new Error(`the task ended after ${count} questions`);
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Everything that an iterator gives. */
export async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
}

/** The data of the events of one type. */
export function of<T extends EventType>(events: readonly Event[], type: T): EventData<T>[] {
  return events.flatMap((event) => (event.type === type ? [event.data as EventData<T>] : []));
}

/** Text of the messages, in order. */
export function said(events: readonly Event[]): string[] {
  return of(events, "message").map(({ text }) => text);
}
