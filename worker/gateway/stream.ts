/** Owns the way of an answer from upstream to the agent: byte by byte as it comes, read by the meter on the way, ended when either side ends. */

import { Meter, type Counted } from "./meter.ts";
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
 * The body for the agent, and what became of it once it has ended. Nothing is held back: a piece is passed on before the next is read, so that a slow
 * reader slows upstream. `left` aborts the call upstream.
 */
export function passOn(body: ReadableStream<Uint8Array>, meter: Meter, hidesUsage: boolean, left: AbortController): { body: ReadableStream<Uint8Array>; done: Promise<Passed> } {
  const { readable, writable } = new IdentityTransformStream();
  return { body: readable, done: pump(body, writable, meter, hidesUsage ? new UnaskedUsage() : null, left) };
}

async function pump(body: ReadableStream<Uint8Array>, writable: WritableStream<Uint8Array>, meter: Meter, hide: UnaskedUsage | null, left: AbortController): Promise<Passed> {
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
      const piece = hide ? hide.pass(value) : value;
      if (piece) await writer.write(piece);
    }
    const rest = hide?.flush();
    if (rest) await writer.write(rest);
    await writer.close();
    const counted = meter.end();
    const whole = counted.whole || !counted.estimated;
    return { counted, outcome: gone ? "client_left" : whole ? "completed" : "cut", error: counted.error ?? (whole ? null : "the answer ended without its end"), first };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const early = gone || left.signal.aborted;
    torn = true;
    left.abort();
    // What the agent has so far ends torn, as it came.
    await writer.abort(error).catch(() => {});
    return { counted: meter.end(), outcome: early ? "client_left" : "cut", error: early ? "the agent left" : `upstream broke off: ${why}`.slice(0, 300), first };
  }
}
