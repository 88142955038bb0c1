/** Owns the records of tenants' own prices. */

import { eq } from "drizzle-orm";
import type { ModelPrice } from "../../sdk/protocol/index.ts";
import type { Database } from "./client.ts";
import { modelPrices } from "./schema.ts";

export function pricesOf(db: Database) {
  return {
    async of(tenantId: string): Promise<readonly ModelPrice[]> {
      const [row] = await db.select({ models: modelPrices.models }).from(modelPrices).where(eq(modelPrices.tenant_id, tenantId));
      return row?.models ?? [];
    },
    /** Puts this list in place of the one before. */
    async put(tenantId: string, models: ModelPrice[], now: Date): Promise<void> {
      await db.insert(modelPrices).values({ tenant_id: tenantId, models, updated_at: now }).onConflictDoUpdate({ target: modelPrices.tenant_id, set: { models, updated_at: now } });
    },
  };
}
