/** Owns a runner's link without a runner: every message is the test's own, and what comes back is kept as it came. */

import { WebSocket } from "ws";
import { objectFrame, RUNNER_LINK_VERSION, type Command, type ObjectFrame, type SpawnSpec } from "../../sdk/protocol/index.ts";
import { eventually } from "./eventually.ts";

type Sent = Parameters<WebSocket["send"]>[0];
export interface Closed {
  code: number;
  reason: string;
}

export class RawRunner {
  readonly frames: ObjectFrame[] = [];
  readonly closed: Promise<Closed>;
  readonly #socket: WebSocket;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data: Buffer) => {
      const value: unknown = JSON.parse(data.toString());
      for (const frame of Array.isArray(value) ? value : [value]) this.frames.push(objectFrame.parse(frame));
    });
    socket.on("error", () => {});
    this.closed = new Promise((resolve) => socket.once("close", (code, reason) => resolve({ code, reason: reason.toString() })));
  }

  /** Opens the door; answers the status instead where it stays shut. */
  static async open(url: string, sessionId: string, token: string | null): Promise<RawRunner | number> {
    const socket = new WebSocket(`${url.replace(/^http/, "ws")}/links/runner/${sessionId}`, { headers: token === null ? {} : { authorization: `Bearer ${token}` }, perMessageDeflate: false });
    const runner = new RawRunner(socket);
    return new Promise((resolve, reject) => {
      socket.once("open", () => resolve(runner));
      socket.once("unexpected-response", (_request, response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
        socket.terminate();
      });
      socket.once("error", reject);
    });
  }

  /** Opens the door, which must open. */
  static async of(url: string, spec: SpawnSpec): Promise<RawRunner> {
    const runner = await RawRunner.open(url, spec.session_id, spec.run_token);
    if (typeof runner === "number") throw new Error(`the door stays shut: ${runner}`);
    return runner;
  }

  /** Opens the door and is welcomed. */
  static async welcomed(url: string, spec: SpawnSpec, more: object = {}): Promise<RawRunner> {
    const runner = await RawRunner.of(url, spec);
    runner.send(helloOf(spec, more));
    await runner.next("welcome");
    return runner;
  }

  /** Sends a frame as JSON, or anything as it is. */
  send(frame: object): void {
    this.#socket.send(JSON.stringify(frame));
  }
  sendAsItIs(data: Sent): void {
    this.#socket.send(data);
  }

  /** The first frame of a type, once it has come. */
  next<T extends ObjectFrame["type"]>(type: T): Promise<Extract<ObjectFrame, { type: T }>> {
    return eventually(`a ${type} comes`, () => this.frames.find((frame): frame is Extract<ObjectFrame, { type: T }> => frame.type === type));
  }
  /** Waits until everything up to a journal number is acknowledged. */
  async acknowledged(upTo: number): Promise<void> {
    await eventually(`everything up to ${upTo} is acknowledged`, () => this.frames.some((frame) => frame.type === "events.ack" && frame.up_to >= upTo));
  }
  command<K extends Command["body"]["kind"]>(kind: K): Promise<Extract<Command["body"], { kind: K }>> {
    return eventually(`a command ${kind} comes`, () => {
      for (const frame of this.frames) if (frame.type === "command" && frame.body.kind === kind) return frame.body as Extract<Command["body"], { kind: K }>;
      return null;
    });
  }
  /** Bytes that have not left this process. */
  get buffered(): number {
    return this.#socket.bufferedAmount;
  }
  drop(): void {
    this.#socket.terminate();
  }
}

/** A good hello of the runner that this spec is for. */
export function helloOf({ session_id, runner_id, epoch }: SpawnSpec, more: object = {}): object {
  return { type: "hello", version: RUNNER_LINK_VERSION, session_id, runner_id, epoch, journal: { first: 0, last: 0 }, last_command: 0, run_id: null, ...more };
}

/** A frame of log lines, or of other items, beginning at a journal number. */
export function eventsOf(from: number, ids: { task_id: string; run_id: string } | null, items: readonly object[]): object {
  return { type: "events", from, task_id: ids?.task_id ?? null, run_id: ids?.run_id ?? null, items };
}
export function logItem(text: string): object {
  return { at: new Date().toISOString(), type: "log", data: { stream: "stdout", text } };
}
