/** Owns the records of tenants' data keys: wrapped, by version; a deleted one keeps its row and loses its bytes. */

import { and, asc, eq, isNotNull, ne } from "drizzle-orm";
import type { Database } from "./client.ts";
import { dataKeys } from "./schema.ts";

/** One version of a tenant's key. `wrapped` is null once it is deleted. */
export interface DataKeyRow {
  tenant_id: string;
  version: number;
  state: "active" | "retired" | "deleted";
  wrapped: string | null;
  /** Which of the deployment's keys wraps it: the first characters of that key's hash. */
  wrapped_with: string;
  created_at: Date;
}

const columns = { tenant_id: dataKeys.tenant_id, version: dataKeys.version, state: dataKeys.state, wrapped: dataKeys.wrapped, wrapped_with: dataKeys.wrapped_with, created_at: dataKeys.created_at };

export function dataKeysOf(db: Database) {
  return {
    /** All versions of a tenant's key, oldest first. */
    async of(tenantId: string): Promise<DataKeyRow[]> {
      return db.select(columns).from(dataKeys).where(eq(dataKeys.tenant_id, tenantId)).orderBy(asc(dataKeys.version));
    },
    /** Adds a version and retires the others; false where someone else added that version first. */
    async add(row: DataKeyRow): Promise<boolean> {
      const made = await db.insert(dataKeys).values(row).onConflictDoNothing().returning({ version: dataKeys.version });
      if (made.length === 0) return false;
      await db.update(dataKeys).set({ state: "retired" }).where(and(eq(dataKeys.tenant_id, row.tenant_id), eq(dataKeys.state, "active"), ne(dataKeys.version, row.version)));
      return true;
    },
    /** Forgets the bytes of every version; answers how many there were. */
    async remove(tenantId: string): Promise<number> {
      return (await db.update(dataKeys).set({ state: "deleted", wrapped: null }).where(and(eq(dataKeys.tenant_id, tenantId), isNotNull(dataKeys.wrapped))).returning({ version: dataKeys.version })).length;
    },
    /** Keys of all tenants that the deployment's key called `current` does not wrap, at most `limit`. */
    async wrappedOtherwise(current: string, limit: number): Promise<DataKeyRow[]> {
      return db.select(columns).from(dataKeys).where(and(ne(dataKeys.wrapped_with, current), isNotNull(dataKeys.wrapped))).orderBy(asc(dataKeys.tenant_id), asc(dataKeys.version)).limit(limit);
    },
    /** Puts a key's new wrapping in place of the one it was read with; false where that has changed since. */
    async rewrap(row: DataKeyRow, wrapped: string, wrappedWith: string): Promise<boolean> {
      if (row.wrapped === null) return false;
      const changed = await db.update(dataKeys).set({ wrapped, wrapped_with: wrappedWith }).where(and(eq(dataKeys.tenant_id, row.tenant_id), eq(dataKeys.version, row.version), eq(dataKeys.wrapped, row.wrapped))).returning({ version: dataKeys.version });
      return changed.length > 0;
    },
  };
}
