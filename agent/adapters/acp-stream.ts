/** Owns the wire of an ACP agent: bounded lines in, messages out; what is no message goes to the log. */

import type { AnyMessage, Stream } from "@agentclientprotocol/sdk";
import type { AgentProcess } from "./adapter.ts";
import { jsonObject, lines, type Line } from "./lines.ts";

export interface AcpStreamOptions {
  /** A line that is no message. */
  onForeign: (line: Line) => Promise<void>;
  /** Awaited before the next message is given out: the back-pressure. */
  ready: () => Promise<void>;
}

/** The agent's stdio as the protocol's stream. */
export function acpStream(process: AgentProcess, { onForeign, ready }: AcpStreamOptions): Stream {
  const source = lines(process.stdout);
  const readable = new ReadableStream<AnyMessage>({
    async pull(controller) {
      for (;;) {
        await ready();
        const next = await source.next();
        if (next.done) return controller.close();
        const value = jsonObject(next.value);
        // The library checks each message against its schema.
        if (value !== undefined) return controller.enqueue(value as unknown as AnyMessage);
        await onForeign(next.value);
      }
    },
    async cancel() {
      await source.return(undefined);
    },
  });
  const writable = new WritableStream<AnyMessage>({
    write(message) {
      if (process.stdin.writable) process.stdin.write(`${JSON.stringify(message)}\n`);
    },
  });
  return { readable, writable };
}
