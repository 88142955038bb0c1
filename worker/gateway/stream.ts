/** Owns the way of an answer from upstream to the agent: byte by byte as it comes, read by the meter beside the way, ended when either side ends. */

import type { Counted, Meter } from "./meter.ts";
import { UnaskedUsage } from "./unasked.ts";

export interface Passed {
  counted: Counted;
  /** `cut`: upstream broke off; `client_left`: the agent did. */
  outcome: "completed" | "cut" | "client_left";
  error: string | null;
  /** When the first byte came, by `performance.now`; null: none did. */
  first: number | null;
}

/** The meter looks at a stream so often: every look costs more than all that it reads. */
const LOOK_MS = 250;
const LOOK_BYTES = 64 * 1024;

/**
 * The body for the agent, and what became of it once it has ended. The runtime itself carries the bytes, without this program's doing; the meter reads
 * a copy. Only where the agent must not see what was asked for besides does every piece pass through here. `left` aborts the call upstream.
 */
export function passOn(body: ReadableStream<Uint8Array>, meter: Meter, hidesUsage: boolean, left: AbortController): { body: ReadableStream<Uint8Array>; done: Promise<Passed> } {
  const { readable, writable } = new IdentityTransformStream();
  if (hidesUsage) return { body: readable, done: pump(body, writable, meter, left) };
  const [way, copy] = body.tee();
  // Carried natively; it ends early where the agent goes, or where upstream breaks off, and then the copy says so too.
  way.pipeTo(writable).catch(() => {
    // What upstream broke off ends the copy by itself; an agent that left ends it here.
    setTimeout(() => left.abort(), 2 * LOOK_MS);
  });
  return { body: readable, done: look(copy, meter, left) };
}

const wait = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms));

async function look(copy: ReadableStream<Uint8Array>, meter: Meter, left: AbortController): Promise<Passed> {
  const reader = copy.getReader({ mode: "byob" });
  let first: number | null = null;
  let buffer = new ArrayBuffer(LOOK_BYTES);
  try {
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(buffer));
      if (value && value.byteLength > 0) meter.feed(value);
      if (done || !value) break;
      first ??= performance.now();
      ({ buffer } = value);
      if (value.byteLength < LOOK_BYTES / 2 && !left.signal.aborted) await wait(LOOK_MS);
    }
    return ended(meter.end(), first, left.signal.aborted);
  } catch (error) {
    return broken(error, meter, first, left.signal.aborted);
  }
}

async function pump(body: ReadableStream<Uint8Array>, writable: WritableStream<Uint8Array>, meter: Meter, left: AbortController): Promise<Passed> {
  const hide = new UnaskedUsage();
  const reader = body.getReader();
  const writer = writable.getWriter();
  let gone = false;
  let torn = false;
  let first: number | null = null;
  // The agent went away, also while upstream is silent.
  writer.closed.catch(() => {
    if (torn) return;
    gone = true;
    left.abort();
    reader.cancel().catch(() => {});
  });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      first ??= performance.now();
      meter.feed(value);
      const piece = hide.pass(value);
      if (piece) await writer.write(piece);
    }
    const rest = hide.flush();
    if (rest) await writer.write(rest);
    await writer.close();
    return ended(meter.end(), first, gone);
  } catch (error) {
    const early = gone || left.signal.aborted;
    torn = true;
    left.abort();
    // What the agent has so far ends torn, as it came.
    await writer.abort(error).catch(() => {});
    return broken(error, meter, first, early);
  }
}

function ended(counted: Counted, first: number | null, gone: boolean): Passed {
  const whole = counted.whole || !counted.estimated;
  return { counted, outcome: whole ? "completed" : gone ? "client_left" : "cut", error: counted.error ?? (whole ? null : gone ? "the agent left" : "the answer ended without its end"), first };
}
function broken(error: unknown, meter: Meter, first: number | null, gone: boolean): Passed {
  const why = error instanceof Error ? error.message : String(error);
  return { counted: meter.end(), outcome: gone ? "client_left" : "cut", error: gone ? "the agent left" : `upstream broke off: ${why}`.slice(0, 300), first };
}
