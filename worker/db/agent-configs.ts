/** Owns the records of agent configs: sealed keys go in and out as they are, and are never part of what is shown. */

import { and, desc, eq, or, sql } from "drizzle-orm";
import { Failure, type AgentConfig, type Page, type PageQuery } from "../../sdk/protocol/index.ts";
import type { Database } from "./client.ts";
import { decodeCursor, encodeCursor } from "./page.ts";
import { agentConfigs } from "./schema.ts";

type Row = typeof agentConfigs.$inferSelect;

function shown(row: Row): AgentConfig {
  const { id, tenant_id, name, agent, api, model, base_url, shared, requests_per_minute } = row;
  return { id, tenant_id, name, agent, api, model, base_url, key: row.masked_key, shared, requests_per_minute, created_at: row.created_at.toISOString(), updated_at: row.updated_at.toISOString() };
}

/** A config's name is one tenant's once. */
function taken(error: unknown): Failure | null {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if ("code" in at && at.code === "23505") return new Failure("conflict", "There is an agent config of that name", { details: { name: "is taken" } });
  }
  return null;
}

export type NewAgentConfig = Omit<Row, "version" | "updated_at">;

export function agentConfigsOf(db: Database) {
  const mine = (tenantId: string, ref: string) => and(eq(agentConfigs.tenant_id, tenantId), or(eq(agentConfigs.id, ref), eq(agentConfigs.name, ref)));
  return {
    /** Idempotent by id. Throws `conflict` where the name is taken. */
    async create(row: NewAgentConfig): Promise<AgentConfig> {
      try {
        await db.insert(agentConfigs).values({ ...row, updated_at: row.created_at }).onConflictDoNothing({ target: agentConfigs.id });
      } catch (error) {
        throw taken(error) ?? error;
      }
      const [found] = await db.select().from(agentConfigs).where(eq(agentConfigs.id, row.id));
      return shown(found ?? { ...row, updated_at: row.created_at, version: 1 });
    },
    /** By id or name, with its sealed key. */
    async find(tenantId: string, ref: string): Promise<{ config: AgentConfig; sealed_key: string } | null> {
      const [row] = await db.select().from(agentConfigs).where(mine(tenantId, ref)).orderBy(sql`${agentConfigs.id} = ${ref} desc`).limit(1);
      return row ? { config: shown(row), sealed_key: row.sealed_key } : null;
    },
    async list(tenantId: string, query: PageQuery): Promise<Page<AgentConfig>> {
      const from = query.cursor === undefined ? null : decodeCursor(query.cursor);
      const filter = eq(agentConfigs.tenant_id, tenantId);
      const rest = from ? sql`(${agentConfigs.created_at}, ${agentConfigs.id}) < (${from.at}::timestamptz, ${from.id}::text)` : undefined;
      const offset = from ? 0 : (query.offset ?? 0);
      const [count, rows] = await db.batch([
        db.select({ total: sql<number>`count(*)::int` }).from(agentConfigs).where(filter),
        db.select().from(agentConfigs).where(and(filter, rest)).orderBy(desc(agentConfigs.created_at), desc(agentConfigs.id)).limit(query.limit + 1).offset(offset),
      ]);
      const items = rows.slice(0, query.limit).map(shown);
      const last = items.at(-1);
      return { items, total: count[0]?.total ?? 0, limit: query.limit, offset, next_cursor: rows.length > query.limit && last ? encodeCursor({ at: last.created_at, id: last.id }) : null };
    },
    async update(tenantId: string, id: string, change: Partial<Omit<NewAgentConfig, "id" | "tenant_id" | "created_at">>, now: Date): Promise<AgentConfig | null> {
      try {
        const [row] = await db.update(agentConfigs).set({ ...change, updated_at: now, version: sql`${agentConfigs.version} + 1` }).where(and(eq(agentConfigs.tenant_id, tenantId), eq(agentConfigs.id, id))).returning();
        return row ? shown(row) : null;
      } catch (error) {
        throw taken(error) ?? error;
      }
    },
    async remove(tenantId: string, id: string): Promise<AgentConfig | null> {
      const [row] = await db.delete(agentConfigs).where(and(eq(agentConfigs.tenant_id, tenantId), eq(agentConfigs.id, id))).returning();
      return row ? shown(row) : null;
    },
  };
}
