import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { newId, type Event } from "../protocol/index.ts";
import { CLOSE } from "../protocol/link-words.ts";
import { live, type Live, type LiveHandlers, type LiveState } from "./live.ts";

const SESSION = newId("session", 1);
const blockOf = (from: number, count: number, seqs?: number[]) => ({
  type: "events", from, at: 1_700_000_000_000, run_id: null, task_id: null, items: Array.from({ length: count }, (_, i) => ({ type: "log", at: 0, data: { stream: "stdout", text: `${from + i}` } })), ...(seqs && { seqs }),
});

/** A socket whose other end is the test. */
class FakeSocket extends EventTarget {
  readonly OPEN = 1;
  readyState = 1;
  readonly sent: { type: string; seq?: number; cursor?: number }[] = [];
  readonly query: URLSearchParams;
  constructor(url: string) {
    super();
    this.query = new URL(url).searchParams;
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text) as { type: string });
  }
  say(...frames: unknown[]): void {
    for (const frame of frames) this.dispatchEvent(new MessageEvent("message", { data: typeof frame === "string" ? frame : JSON.stringify(frame) }));
  }
  close(code = 1006): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event_("close"), { code }));
  }
}
const Event_ = globalThis.Event;

function stage(handlers: Partial<LiveHandlers> = {}, after: number | null = null) {
  vi.useFakeTimers();
  const sockets: FakeSocket[] = [];
  const seen: Event[] = [];
  const states: LiveState[] = [];
  const problems: unknown[] = [];
  const opened: Live = live(
    {
      url: new URL("http://server/api/v1/events"), protocols: [], sessionId: SESSION, after, tail: 5, random: () => 0.5,
      socket: (url) => {
        const socket = new FakeSocket(url);
        sockets.push(socket);
        return socket as unknown as WebSocket;
      },
    },
    {
      onEvents: (events) => void seen.push(...events),
      onState: (state, error) => {
        states.push(state);
        if (error !== undefined) problems.push(error);
      },
      ...handlers,
    },
  );
  const now = () => sockets.at(-1) as FakeSocket;
  return { opened, sockets, seen, states, problems, now, settle: () => vi.advanceTimersByTimeAsync(0), wait: () => vi.advanceTimersByTimeAsync(10_000) };
}
afterEach(() => {
  vi.useRealTimers();
});

describe("the live socket", () => {
  it("hands on in order, says how far it is, and acknowledges what was handed on", async () => {
    const { opened, now, seen, settle } = stage();
    expect(Object.fromEntries(now().query)).toEqual({ flow: "1", tail: "5" });
    now().say(blockOf(1, 3), blockOf(4, 1), { type: "caught_up", seq: 4 });
    await settle();
    expect(seen.map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
    expect(opened).toMatchObject({ position: 4, state: "live" });
    // The first at once, the others together a little later.
    expect(now().sent).toEqual([{ type: "ack", seq: 3 }]);
    await vi.advanceTimersByTimeAsync(30);
    expect(now().sent).toEqual([{ type: "ack", seq: 3 }, { type: "ack", seq: 4 }]);
    opened.close();
  });

  it("holds back what comes after while its user is busy", async () => {
    let free = () => {};
    const { now, settle } = stage({ onEvents: () => new Promise<void>((resolve) => (free = resolve)) });
    now().say(blockOf(1, 2), blockOf(3, 2));
    await settle();
    expect(now().sent).toEqual([]);
    free();
    await settle();
    expect(now().sent).toEqual([{ type: "ack", seq: 2 }]);
  });

  it("comes back after every cut from the last number, and hands on nothing twice, wherever it was cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.record({ events: fc.integer({ min: 0, max: 7 }), again: fc.integer({ min: 0, max: 4 }) }), { minLength: 1, maxLength: 6 }), async (connections) => {
        const { opened, sockets, seen, now, settle, wait } = stage();
        let sent = 0;
        for (const { events, again } of connections) {
          // A server may repeat what it has sent.
          const from = Math.max(1, sent + 1 - again);
          if (sent + events >= from) now().say(blockOf(from, sent + events - from + 1));
          sent += events;
          await settle();
          now().close();
          await wait();
          expect(now().query.get("after")).toBe(sent === 0 ? null : String(sent));
        }
        expect(sockets).toHaveLength(connections.length + 1);
        expect(seen.map(({ seq }) => seq)).toEqual(Array.from({ length: sent }, (_, i) => i + 1));
        opened.close();
        vi.useRealTimers();
      }),
      { numRuns: 50 },
    );
  });

  it("tells of what is no longer kept", async () => {
    const gaps: number[][] = [];
    const { now, settle } = stage({ onGap: (after, first) => void gaps.push([after, first]) }, 3);
    now().say({ type: "gap", after: 3, first: 9 }, blockOf(9, 1));
    await settle();
    expect(gaps).toEqual([[3, 9]]);
  });

  it("ends with the log, and where it is not wanted; a fault of the server's is waited out", async () => {
    const ended = stage();
    ended.now().say(blockOf(1, 1), { type: "end", seq: 1, reason: "over" });
    ended.now().close(CLOSE.ended);
    await ended.wait();
    expect([ended.states.at(-1), ended.sockets.length]).toEqual(["ended", 1]);

    const refused = stage();
    refused.now().say({ type: "error", error: { error: { code: "not_found", message: "No such session" }, status: 404 } });
    refused.now().close(CLOSE.protocol);
    await refused.wait();
    expect([refused.states.at(-1), refused.sockets.length]).toEqual(["ended", 1]);

    const broken = stage();
    broken.now().say("{ no JSON");
    await broken.settle();
    await broken.wait();
    expect(broken.sockets.length).toBeGreaterThan(1);
    expect(broken.problems[0]).toBeInstanceOf(SyntaxError);
    broken.opened.close();
  });

  it("says nothing more once it is closed", async () => {
    const { opened, now, seen, sockets, states, wait } = stage();
    const socket = now();
    opened.close();
    socket.say(blockOf(1, 1));
    socket.close();
    await wait();
    expect([seen.length, sockets.length, states.at(-1)]).toEqual([0, 1, "closed"]);
  });
});
