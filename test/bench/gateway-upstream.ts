/** Owns the upstream of the gateway bench, in a process of its own: streams of Anthropic's form at the pace that the request names. */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface Pace {
  tokens: number;
  /** Between two tokens; 0: as fast as they are taken. */
  gap_ms: number;
  /** Before the first. */
  wait_ms: number;
}

const event = (type: string, data: object) => `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
const START = event("message_start", { message: { id: "msg", type: "message", role: "assistant", model: "claude-sonnet-4-5", content: [], usage: { input_tokens: 2_000, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 1 } } });
const TOKEN = event("content_block_delta", { index: 0, delta: { type: "text_delta", text: "token " } });
const end = (tokens: number) => event("message_delta", { delta: { stop_reason: "end_turn" }, usage: { output_tokens: tokens } }) + event("message_stop", {});

const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on("data", (part: Buffer) => parts.push(part));
  request.on("end", () => {
    const { tokens, gap_ms, wait_ms } = (JSON.parse(Buffer.concat(parts).toString()) as { metadata: Pace }).metadata;
    setTimeout(() => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(START);
      let sent = 0;
      const next = (): void => {
        const most = gap_ms === 0 ? tokens : Math.min(1, tokens);
        for (; sent < most; sent++) {
          if (response.write(TOKEN)) continue;
          sent++;
          response.once("drain", next);
          return;
        }
        if (gap_ms === 0 || tokens <= 1) {
          response.end(end(sent));
          return;
        }
        const timer = setInterval(() => {
          response.write(TOKEN);
          if (++sent < tokens) return;
          clearInterval(timer);
          response.end(end(sent));
        }, gap_ms);
      };
      next();
    }, wait_ms);
  });
});
// As a provider's edge does: a connection that was used is kept for the next call.
server.keepAliveTimeout = 75_000;
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));
process.on("disconnect", () => process.exit(0));
