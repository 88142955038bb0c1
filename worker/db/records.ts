/** Owns the worker's view of Postgres: every query that a route may make, as one value that can be replaced whole. */

import { sql } from "drizzle-orm";
import type { Projection } from "../../durable-objects/index.ts";
import type { Env } from "../env.ts";
import { accessOf } from "./access.ts";
import { agentConfigsOf } from "./agent-configs.ts";
import { openDatabase, type Database } from "./client.ts";
import { dataKeysOf } from "./data-keys.ts";
import { pricesOf } from "./prices.ts";
import { projectionOf } from "./projection.ts";
import { resourcesOf } from "./resources.ts";
import { usageOf } from "./usage.ts";
import { workspacesOf } from "./workspaces.ts";

export interface Records {
  access: ReturnType<typeof accessOf>;
  lists: ReturnType<typeof resourcesOf>;
  dataKeys: ReturnType<typeof dataKeysOf>;
  workspaces: ReturnType<typeof workspacesOf>;
  agentConfigs: ReturnType<typeof agentConfigsOf>;
  prices: ReturnType<typeof pricesOf>;
  usage: ReturnType<typeof usageOf>;
  projection: Projection;
  /** Throws where Postgres does not answer. */
  ping(): Promise<void>;
  /** What time it is there. */
  clock(): Promise<Date>;
}

export function recordsOf(db: Database): Records {
  return {
    access: accessOf(db),
    lists: resourcesOf(db),
    dataKeys: dataKeysOf(db),
    workspaces: workspacesOf(db),
    agentConfigs: agentConfigsOf(db),
    prices: pricesOf(db),
    usage: usageOf(db),
    projection: projectionOf(db),
    ping: async () => {
      await db.execute(sql`select 1`);
    },
    clock: async () => {
      const { rows } = await db.execute<{ ms: string }>(sql`select (extract(epoch from clock_timestamp()) * 1000)::bigint::text as ms`);
      return new Date(Number(rows[0]?.ms));
    },
  };
}

const opened = new WeakMap<Env, Records>();
/** The records of a worker's bindings; the driver keeps no connection, so they are made once an isolate. */
export function recordsFor(env: Env): Records {
  let records = opened.get(env);
  if (!records) opened.set(env, (records = recordsOf(openDatabase(env.MARIONETTE_DATABASE_URL, env.MARIONETTE_DATABASE_ENDPOINT))));
  return records;
}
