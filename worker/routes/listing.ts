/** Owns what follows every create: its row in the lists at once; and what a workspace held before its session. */

import { storageStub, type Row } from "../../durable-objects/index.ts";
import type { Session } from "../../sdk/protocol/index.ts";
import { actorOf, type Ctx } from "../context.ts";

/** Longest that a create waits for its row to be in the lists. */
const LISTED_WITHIN_MS = 1_000;

/** Copies rows into the lists now; their object's outbox does the same a little later, and for good. */
export async function copied(c: Ctx, rows: Row[]): Promise<void> {
  const done = c.get("records").projection.apply(rows).catch(() => {
    c.get("log").warn("not listed yet", { request_id: c.get("request_id"), ids: rows.map(({ value }) => value.id).join(" ") });
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, LISTED_WITHIN_MS);
  await Promise.race([done, promise]);
  clearTimeout(timer);
}
export function listed(c: Ctx, session: Session): Promise<void> {
  return copied(c, [{ resource: "session", value: session }]);
}

/** What a workspace that was there before holds, for the session's first runner to restore. */
export async function headOf(c: Ctx, workspaceId: string | undefined): Promise<{ manifest_id: string } | undefined> {
  if (workspaceId === undefined) return undefined;
  return (await storageStub(c.env, actorOf(c).tenant_id).head(workspaceId)) ?? undefined;
}
