/** Owns the agent's way to the model gateway: the token that is made of the runner's own, and, where the sandbox has no other way out, a door to the relay. */

import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { Secret } from "../../sdk/protocol/secret.ts";
import { gatewayKey, gatewayToken } from "../../sdk/protocol/tokens.ts";
import type { GatewayAccess } from "../adapters/adapter.ts";
import type { RunnerSpec } from "./spec.ts";

/** Null where the session's calls do not go through the gateway. What it listens on ends with the runner's process. */
export async function openGateway({ gateway, run_token, session_id, server, socket }: RunnerSpec): Promise<GatewayAccess | null> {
  if (!gateway) return null;
  const key = new Secret(gatewayKey(await gatewayToken(run_token), session_id));
  return { url: socket === undefined ? server.replace(/\/+$/, "") : `http://127.0.0.1:${await listen(socket)}`, key };
}

/** A port of the sandbox's own that leads to the relay's socket, byte by byte. Agents speak to addresses, not to sockets. */
function listen(socket: string): Promise<number> {
  const door = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
    const far = connect({ path: socket, allowHalfOpen: true });
    near.pipe(far);
    far.pipe(near);
    const end = (other: Socket) => () => other.destroy();
    near.on("error", end(far));
    far.on("error", end(near));
    // The one that leaves takes the other along: upstream must hear that its agent has gone.
    near.on("close", end(far));
    far.on("close", end(near));
  });
  // It never keeps the runner from ending.
  door.unref();
  return new Promise((resolve, reject) => {
    door.once("error", reject);
    door.listen(0, "127.0.0.1", () => resolve((door.address() as AddressInfo).port));
  });
}
