/** Owns the bare object's runner, in a process of its own as Marionette's: frames of items, eight under way at a time. */

import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { WebSocket } from "ws";

export interface BareRequest {
  url: string;
  count: number;
  frame: number;
}

const WINDOW = 8;
const FILL = "x".repeat(90);

/** Sends `count` events; the child ends when all are acknowledged. */
export function forkSender(request: BareRequest): void {
  const child = fork(fileURLToPath(import.meta.url), [], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  child.send(request);
}

async function send({ url, count, frame }: BareRequest): Promise<void> {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  await once(socket, "open");
  let sent = 0;
  let underWay = 0;
  const pump = () => {
    while (underWay < WINDOW && sent < count) {
      const items: unknown[] = [];
      for (let i = 0; i < frame; i++) items.push({ at: new Date().toISOString(), type: "log", data: { stream: "stdout", text: `${performance.timeOrigin + performance.now()} ${FILL}` } });
      socket.send(JSON.stringify({ type: "events", from: sent + 1, items }));
      sent += frame;
      underWay++;
    }
    if (underWay === 0) process.exit(0);
  };
  socket.on("message", () => {
    underWay--;
    pump();
  });
  pump();
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.send) process.once("message", (request: BareRequest) => void send(request));
