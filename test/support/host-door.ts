/** Owns a stand-in for the control plane's side of a host's link: it takes daemons in, remembers what they say, and gives orders. */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { newWebSocketRpcSession, RpcTarget, type RpcStub } from "capnweb";
import { WebSocketServer } from "ws";
import { HOST_LINK_VERSION, newId, type Daemon, type HostDoor, type HostHello, type HostInfo, type HostWelcome, type RunnerReport } from "../../sdk/protocol/index.ts";

export interface TestDoor {
  url: string;
  hostId: string;
  hellos: HostHello[];
  reports: RunnerReport[];
  updates: HostInfo[];
  /** Upgrade requests, with their tokens and the hosts that they named. */
  joins: { token: string | undefined; hostId: string | null }[];
  /** Runners that the next welcome does not want. */
  unwanted: Set<string>;
  /** Answers upgrades with this status instead. */
  refuse: number | null;
  /** Makes `report` fail. */
  deaf: boolean;
  /** The daemon that said hello last. */
  daemon: RpcStub<Daemon> | null;
  /** Drops every connection. */
  drop(): void;
  close(): Promise<void>;
}

/** Listens on a port of its own. */
export async function openDoor(): Promise<TestDoor> {
  const server = createServer();
  const sockets = new WebSocketServer({ noServer: true });
  const door: TestDoor = {
    url: "", hostId: newId("host", Date.now()), hellos: [], reports: [], updates: [], joins: [], unwanted: new Set(), refuse: null, deaf: false, daemon: null,
    drop() {
      door.daemon = null;
      for (const socket of sockets.clients) socket.terminate();
    },
    async close() {
      door.drop();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  class Target extends RpcTarget implements HostDoor {
    async hello(hello: HostHello, daemon: Daemon): Promise<HostWelcome> {
      door.hellos.push(hello);
      door.daemon = (daemon as unknown as RpcStub<Daemon>).dup();
      return { version: HOST_LINK_VERSION, host_id: door.hostId, destroy: [...door.unwanted] };
    }
    async report(report: RunnerReport): Promise<void> {
      if (door.deaf) throw new Error("not now");
      door.reports.push(report);
    }
    async update(info: HostInfo): Promise<void> {
      door.updates.push(info);
    }
    async alive(): Promise<void> {}
  }
  server.on("upgrade", (request, socket, head) => {
    const url = new URL(request.url ?? "", "http://door");
    door.joins.push({ token: request.headers.authorization, hostId: url.searchParams.get("host_id") });
    if (door.refuse !== null || url.pathname !== "/links/host") socket.end(`HTTP/1.1 ${door.refuse ?? 404} No\r\ncontent-length: 0\r\n\r\n`);
    else sockets.handleUpgrade(request, socket, head, (ws) => void newWebSocketRpcSession(ws as unknown as WebSocket, new Target()));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  door.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return door;
}
