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

/**
 * The meter looks at a stream so long after its first look, and twice as long after each that finds little, up to the second: every look costs more
 * than all that it reads. Where much comes it looks on at once, so that what waits for it stays small.
 */
const LOOK_MS = { first: 100, last: 1_000 };
const LOOK_BYTES = 16 * 1024;
/** How soon after its way broke off the copy says so too, where it was upstream that broke it. */
const GRACE_MS = 250;

/**
 * The body for the agent, and what became of it once it has ended. The runtime itself carries the bytes, without this program's doing; the meter reads
 * a copy. Only where the agent must not see what was asked for besides does every piece pass through here. `left` aborts the call upstream.
 */
export function passOn(body: ReadableStream<Uint8Array>, meter: Meter, hidesUsage: boolean, left: AbortController): { body: ReadableStream<Uint8Array>; done: Promise<Passed> } {
  const { readable, writable } = new IdentityTransformStream();
  if (hidesUsage) return { body: readable, done: pump(body, writable, meter, left) };
  const [way, copy] = body.tee();
  // Without this stage nothing would tell that the agent has gone: what upstream broke off ends the copy by itself, an agent that left ends it here.
  const over = way.pipeTo(writable).catch(() => void setTimeout(() => left.abort(), GRACE_MS));
  return { body: readable, done: look(copy, meter, over, left.signal) };
}

/** `over`: all has passed, or none will any more. */
async function look(copy: ReadableStream<Uint8Array>, meter: Meter, over: Promise<unknown>, left: AbortSignal): Promise<Passed> {
  const reader = copy.getReader({ mode: "byob" });
  let first: number | null = null;
  let buffer = new ArrayBuffer(LOOK_BYTES);
  let rests = true;
  let wake = () => {};
  void over.then(() => {
    rests = false;
    wake();
  });
  const rest = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  try {
    for (let ms = LOOK_MS.first; ; ) {
      const { done, value } = await reader.read(new Uint8Array(buffer));
      if (value && value.byteLength > 0) meter.feed(value);
      if (done || !value) break;
      first ??= performance.now();
      ({ buffer } = value);
      if (value.byteLength >= LOOK_BYTES / 2) ms = LOOK_MS.first;
      else if (rests) {
        await rest(ms);
        ms = Math.min(LOOK_MS.last, 2 * ms);
      }
    }
    return ended(meter.end(), first, left.aborted);
  } catch (error) {
    // What upstream broke off stays that, also where the abort was faster to be heard of on a busy machine.
    return broken(error, meter, first, left.aborted && error instanceof Error && error.name === "AbortError");
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
