/** Owns the agent's way to the model gateway: the token that is made of the runner's own, and a door in the sandbox that leads there. */

import { connect, createServer, type AddressInfo } from "node:net";
import { Secret } from "../../sdk/protocol/secret.ts";
import { gatewayKey, gatewayToken } from "../../sdk/protocol/tokens.ts";
import type { GatewayAccess } from "../adapters/adapter.ts";
import type { RunnerSpec } from "./spec.ts";

/**
 * Null where the session's calls do not go through the gateway. The door that it opens ends with the runner's process. A server by https is reached
 * directly: who ends its TLS hears at once of an agent that leaves. By http nobody would before the next byte is written, so the door says it aloud.
 */
export async function openGateway({ gateway, run_token, session_id, server, socket }: Pick<RunnerSpec, "gateway" | "run_token" | "session_id" | "server" | "socket">): Promise<GatewayAccess | null> {
  if (!gateway) return null;
  const key = new Secret(gatewayKey(await gatewayToken(run_token), session_id));
  const { protocol, hostname, port } = new URL(server);
  if (socket === undefined && protocol === "https:") return { url: server.replace(/\/+$/, ""), key };
  return { url: `http://127.0.0.1:${await listen(socket === undefined ? { host: hostname, port: Number(port || 80) } : { path: socket })}`, key };
}

/** A port of the sandbox's own that leads to the server, or to the relay's socket, byte by byte: agents speak to addresses, not to sockets. */
function listen(to: { host: string; port: number } | { path: string }): Promise<number> {
  const door = createServer({ noDelay: true }, (near) => {
    const far = connect({ ...to, noDelay: true });
    near.pipe(far);
    far.pipe(near);
    near.on("error", () => near.destroy());
    far.on("error", () => far.destroy());
    // A plain goodbye would be heard only when there is something to say: a reset is heard at once, and upstream is left.
    near.on("close", () => ("path" in to ? far.destroy() : far.resetAndDestroy()));
    far.on("close", () => near.destroy());
  });
  // It never keeps the runner from ending.
  door.unref();
  return new Promise((resolve, reject) => {
    door.once("error", reject);
    door.listen(0, "127.0.0.1", () => resolve((door.address() as AddressInfo).port));
  });
}
