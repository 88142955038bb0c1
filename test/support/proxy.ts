/** Owns a TCP proxy that misbehaves on demand: it stalls, delays, swallows and cuts what goes through it. */

import { once } from "node:events";
import { createServer, connect, type AddressInfo, type Socket } from "node:net";

export interface Proxy {
  /** As the target's, with the proxy's port. */
  url: string;
  /** Connections that are open now. */
  readonly open: number;
  /** Connections so far. */
  readonly made: number;
  /** Connections that swallow and that whoever made them still takes for good. */
  readonly swallowing: number;
  /** Destroys every connection, both ends. */
  cut(): void;
  /** Every connection of now swallows what it is given, for ever and without a word; later ones work. */
  swallow(): void;
  /** Nothing is forwarded, on any connection, until `resume`; nothing is lost. */
  stall(): void;
  resume(): void;
  /** Every piece is forwarded so much later. */
  delay(ms: number): void;
  /** Bytes that a connection made from now on may answer before it is cut; null for no end. */
  budget: (() => number | null) | null;
  close(): Promise<void>;
}

/** Listens on a free port of this machine and forwards to `target`. */
export async function startProxy(target: string): Promise<Proxy> {
  const { hostname, port } = new URL(target);
  const ends = new Set<{ near: Socket; far: Socket; swallows: boolean }>();
  let made = 0;
  let stalled: PromiseWithResolvers<void> | null = null;
  const moving = async (): Promise<void> => {
    if (!stalled) return;
    await stalled.promise;
    await moving();
  };
  let delayMs = 0;

  const server = createServer({ noDelay: true }, (near) => {
    made++;
    const far = connect({ host: hostname, port: Number(port), noDelay: true });
    const pair = { near, far, swallows: false };
    ends.add(pair);
    let left = proxy.budget?.() ?? null;
    const drop = () => {
      ends.delete(pair);
      near.destroy();
      far.destroy();
    };
    const pump = (from: Socket, to: Socket, counted: boolean) => {
      let turn: Promise<void> = Promise.resolve();
      from.on("data", (piece: Buffer) => {
        turn = turn.then(async () => {
          if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
          await moving();
          if (pair.swallows || to.destroyed) return;
          if (!counted || left === null) {
            to.write(piece);
            return;
          }
          to.write(piece.subarray(0, left));
          left -= piece.length;
          // What was written goes out first, then the cut.
          if (left <= 0) to.end(drop);
        });
      });
      from.on("error", () => {});
      from.on("close", () => {
        // A swallowed connection's other end never hears of it.
        if (!pair.swallows) void turn.then(drop);
      });
    };
    pump(near, far, false);
    pump(far, near, true);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  const proxy: Proxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get open() {
      return ends.size;
    },
    get made() {
      return made;
    },
    get swallowing() {
      return [...ends].filter(({ near, swallows }) => swallows && !near.destroyed).length;
    },
    cut() {
      for (const { near, far } of ends) {
        near.destroy();
        far.destroy();
      }
      ends.clear();
    },
    swallow() {
      for (const pair of ends) pair.swallows = true;
    },
    stall() {
      stalled ??= Promise.withResolvers<void>();
    },
    resume() {
      const was = stalled;
      stalled = null;
      was?.resolve();
    },
    delay(ms) {
      delayMs = ms;
    },
    budget: null,
    async close() {
      proxy.resume();
      proxy.cut();
      server.close();
      await once(server, "close");
    },
  };
  return proxy;
}
