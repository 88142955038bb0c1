import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Marionette } from "../client.ts";
import { newChildId, newId, type Event } from "../protocol/index.ts";
import { ConnectionError, NotFoundError, ProtocolError, UnavailableError } from "./errors.ts";

const SESSION = newId("session", 1);
const TASK = newChildId("task", SESSION, 2);
const eventOf = (seq: number) => ({ seq, session_id: SESSION, task_id: TASK, run_id: null, at: "2026-11-21T10:00:00.000Z", type: "log", data: { stream: "stdout", text: `line ${seq} – ü😀\n` } });
const recordOf = (seq: number) => `id: ${seq}\nevent: log\ndata: ${JSON.stringify(eventOf(seq))}\n\n`;
const END = 'event: end\ndata: {"seq":0,"reason":"the task has ended"}\n\n';

/** A connection: how many bytes get through before it breaks (null: all), and in pieces of which size. */
interface Connection {
  bytes: number | null;
  piece: number;
  ends?: "break" | "close" | "hang";
}

/** A server whose log has `count` events and whose connections break as told; whole once they are used up. */
function server(count: number, connections: Connection[]) {
  const asked: URLSearchParams[] = [];
  const canceled: number[] = [];
  const fetch = async (url: string): Promise<Response> => {
    const query = new URL(url).searchParams;
    const number = asked.push(query);
    const { bytes: limit, piece, ends = "break" } = connections.shift() ?? { bytes: null, piece: 64 };
    const after = Number(query.get("after") ?? 0);
    const text = Array.from({ length: count - after }, (_, i) => recordOf(after + 1 + i)).join("") + END;
    const all = new TextEncoder().encode(`: hello\n\n${text}`);
    const passed = limit === null ? all : all.subarray(0, limit);
    let at = 0;
    const body = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          if (at < passed.length) {
            controller.enqueue(passed.slice(at, (at += piece)));
            return undefined;
          }
          if (limit === null || ends === "close") controller.close();
          else if (ends === "break") controller.error(new TypeError("terminated"));
          else return new Promise(() => undefined);
          return undefined;
        },
        cancel: () => void canceled.push(number),
      },
      { highWaterMark: 0 },
    );
    return new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
  };
  const client = new Marionette({ url: "http://server.test", apiKey: "mk_test", fetch, sleep: async (_, signal) => signal?.throwIfAborted(), random: () => 0 });
  return { client, asked, canceled };
}

async function seqs(events: AsyncIterable<Event>): Promise<number[]> {
  const found: number[] = [];
  for await (const { seq } of events) found.push(seq);
  return found;
}
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

describe("a followed log", () => {
  it("gives every number once and in order, wherever its connections are cut", async () => {
    const connection = fc.record({ bytes: fc.nat(1_500), piece: fc.integer({ min: 1, max: 700 }), ends: fc.constantFrom("break" as const, "close" as const) });
    await fc.assert(
      fc.asyncProperty(fc.nat(12), fc.array(connection, { maxLength: 8 }), async (count, connections) => {
        const { client } = server(count, connections);
        expect(await seqs(client.tasks.logs(TASK, { follow: true }, { max_reconnects: 100, max_retries: 100 }))).toEqual(upTo(count));
      }),
      { numRuns: 150 },
    );
  });
  it("survives a cut at each single byte", async () => {
    const length = new TextEncoder().encode(`: hello\n\n${recordOf(1)}${recordOf(2)}${recordOf(3)}${END}`).length;
    for (let bytes = 0; bytes <= length; bytes++) {
      const { client } = server(3, [{ bytes, piece: 97 }]);
      expect(await seqs(client.tasks.logs(TASK, { follow: true }))).toEqual([1, 2, 3]);
    }
  });
  it("asks for what comes after the last number that it gave, and no longer for the tail", async () => {
    const { client, asked } = server(3, [{ bytes: new TextEncoder().encode(`: hello\n\n${recordOf(1)}`).length + 5, piece: 10 }]);
    await seqs(client.tasks.logs(TASK, { follow: true, tail: 3, types: ["log", "error"] }));
    expect(asked.map((query) => Object.fromEntries(query))).toEqual([
      { follow: "true", tail: "3", types: "log,error" },
      { follow: "true", after: "1", types: "log,error" },
    ]);
  });
  it("drops what a server sends a second time", async () => {
    const twice = recordOf(1) + recordOf(2) + recordOf(1) + recordOf(2) + recordOf(3) + END;
    const client = new Marionette({ url: "http://server.test", apiKey: "mk_test", fetch: async () => new Response(twice, { headers: { "content-type": "text/event-stream" } }) });
    expect(await seqs(client.sessions.events(SESSION, { follow: true }))).toEqual([1, 2, 3]);
  });
  it("aborts its request when it is left with break, and goes on from there when it is iterated again", async () => {
    const { client, canceled } = server(5, []);
    const stream = client.tasks.logs(TASK, { follow: true });
    for await (const { seq } of stream) if (seq === 2) break;
    expect(canceled).toEqual([1]);
    expect(stream.position).toBe(2);
    expect(await seqs(stream)).toEqual([3, 4, 5]);
  });
  it("throws the signal's reason when it is aborted while it waits", async () => {
    const { client, canceled } = server(2, [{ bytes: 400, piece: 400, ends: "hang" }]);
    const abort = new AbortController();
    const reading = (async () => {
      for await (const _ of client.tasks.logs(TASK, { follow: true }, { signal: abort.signal })) abort.abort(new Error("enough"));
    })();
    await expect(reading).rejects.toThrow("enough");
    expect(canceled).toEqual([1]);
  });
  it("takes a silent connection for dead and makes another", async () => {
    const { client, asked } = server(2, [{ bytes: 0, piece: 1, ends: "hang" }]);
    const told: unknown[] = [];
    expect(await seqs(client.tasks.logs(TASK, { follow: true }, { idle_ms: 5, on_reconnect: ({ error }) => told.push(error) }))).toEqual([1, 2]);
    expect(asked).toHaveLength(2);
    expect(told).toEqual([new ConnectionError("The stream was silent for 5 ms")]);
  });
  it("gives up after so many connections in a row that brought nothing, with the last reason", async () => {
    const broken = Array.from({ length: 9 }, () => ({ bytes: 0, piece: 1 }));
    const { client, asked } = server(1, broken);
    await expect(seqs(client.tasks.logs(TASK, { follow: true }, { max_reconnects: 4 }))).rejects.toThrow(ConnectionError);
    expect(asked).toHaveLength(5);
  });
  it("ends with the error that the server ends it with, unless that may pass", async () => {
    const ends = [{ code: "unavailable", message: "restarting" }, { code: "not_found", message: "gone" }].map((error) => `event: end\ndata: ${JSON.stringify({ seq: 0, reason: "x", error })}\n\n`);
    let connections = 0;
    const client = new Marionette({
      url: "http://server.test", apiKey: "mk_test", random: () => 0, sleep: async () => undefined,
      fetch: async () => new Response(recordOf(1) + (ends[connections++] ?? END), { headers: { "content-type": "text/event-stream" } }),
    });
    const told: unknown[] = [];
    await expect(seqs(client.tasks.logs(TASK, { follow: true }, { on_reconnect: ({ error }) => told.push(error) }))).rejects.toThrow(NotFoundError);
    expect(told[0]).toBeInstanceOf(UnavailableError);
  });
  it("says so where the answer is no stream, or a record no event", async () => {
    const answers = [new Response("{}", { headers: { "content-type": "application/json" } }), new Response("data: {}\n\n", { headers: { "content-type": "text/event-stream" } })];
    const client = new Marionette({ url: "http://server.test", apiKey: "mk_test", fetch: async () => answers.shift() ?? Response.error() });
    await expect(seqs(client.tasks.logs(TASK, { follow: true }))).rejects.toThrow(ProtocolError);
    await expect(seqs(client.tasks.logs(TASK, { follow: true }))).rejects.toThrow(ProtocolError);
  });
});
