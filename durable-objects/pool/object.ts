/** Owns the wiring of the PoolObject: constructor, fetch, RPC, alarm. */

import { DurableObject } from "cloudflare:workers";
import type { ObjectsEnv, PortsOf } from "../ports.ts";

/** The class to export from the worker's entry; `portsOf` gives it what lies above it. */
export function poolObject<Env extends ObjectsEnv>(_portsOf: PortsOf<Env>) {
  return class PoolObject extends DurableObject<Env> {};
}
