/** Owns printing a log: rendered for people, JSON lines or YAML documents for programs. */

import type { Event } from "../../protocol/index.ts";
import type { Context } from "../context.ts";
import { Renderer } from "../follow/render.ts";

/** Prints every event; all of it is data, so all of it goes to stdout. */
export async function printLog(context: Context, events: AsyncIterable<Event>): Promise<void> {
  const { out } = context;
  const write = (text: string) => out.write(text);
  const render = new Renderer({ data: write, note: write, paint: out.paint, colour: out.colour, verbose: out.verbose });
  try {
    for await (const event of events) {
      if (out.structured) out.record(event);
      else render.event(event);
      await out.drained();
    }
  } finally {
    render.end();
  }
}
