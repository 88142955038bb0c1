/** Owns the records of workspaces and data keys in memory, for tests of the doors. */

import type { Session } from "../../sdk/protocol/index.ts";
import type { DataKeyRow } from "../db/data-keys.ts";
import type { Records } from "../db/records.ts";
import type { WorkspaceRow } from "../db/workspaces.ts";

/** `up` throws where the records are to be away; `sessions` answers the copied ones. */
export function memoryStorage(up: () => void, sessions: () => Session[], tenants: () => string[]): Pick<Records, "dataKeys" | "workspaces"> {
  const keys: DataKeyRow[] = [];
  const workspaces = new Map<string, WorkspaceRow & { deleted?: true }>();
  const own = (tenantId: string, id: string) => {
    up();
    const found = workspaces.get(id);
    return found && found.tenant_id === tenantId && !found.deleted ? found : null;
  };
  const shown = ({ deleted: _deleted, ...row }: WorkspaceRow & { deleted?: true }): WorkspaceRow => row;
  const of = (tenantId: string, id: string) => sessions().filter((each) => each.tenant_id === tenantId && each.workspace_id === id);
  return {
    dataKeys: {
      of: async (tenantId) => {
        up();
        return keys.filter(({ tenant_id }) => tenant_id === tenantId).map((row) => ({ ...row }));
      },
      add: async (row) => {
        up();
        if (keys.some(({ tenant_id, version }) => tenant_id === row.tenant_id && version === row.version)) return false;
        for (const key of keys) if (key.tenant_id === row.tenant_id && key.state === "active") key.state = "retired";
        keys.push({ ...row });
        return true;
      },
      remove: async (tenantId) => {
        up();
        const mine = keys.filter(({ tenant_id, wrapped }) => tenant_id === tenantId && wrapped !== null);
        for (const key of mine) Object.assign(key, { state: "deleted", wrapped: null });
        return mine.length;
      },
      wrappedOtherwise: async (current, limit) => keys.filter(({ wrapped, wrapped_with }) => wrapped !== null && wrapped_with !== current).slice(0, limit).map((row) => ({ ...row })),
      rewrap: async (row, wrapped, wrapped_with) => {
        const found = keys.find(({ tenant_id, version }) => tenant_id === row.tenant_id && version === row.version);
        if (!found || found.wrapped !== row.wrapped) return false;
        Object.assign(found, { wrapped, wrapped_with });
        return true;
      },
    },
    workspaces: {
      create: async ({ name, ...row }) => {
        up();
        const found = workspaces.get(row.id) ?? { ...row, name: name ?? null, updated_at: row.created_at, last_used_at: row.created_at, version: 1 };
        workspaces.set(row.id, found);
        return shown(found);
      },
      read: async (tenantId, id) => {
        const found = own(tenantId, id);
        if (found) return shown(found);
        const [session] = of(tenantId, id);
        if (!session || workspaces.has(id)) return null;
        const created_at = new Date(session.created_at);
        return { id, tenant_id: tenantId, name: null, labels: {}, quota_mb: session.workspace_quota_mb, retention_days: session.retention_days, created_at, updated_at: created_at, last_used_at: created_at, version: 1 };
      },
      list: async (tenantId, { limit, offset = 0 }) => {
        up();
        const mine = [...workspaces.values()].filter(({ tenant_id, deleted }) => tenant_id === tenantId && !deleted).map(shown).toReversed();
        return { items: mine.slice(offset, offset + limit), total: mine.length, limit, offset, next_cursor: null };
      },
      update: async (tenantId, id, patch, now) => {
        const found = own(tenantId, id);
        if (!found) return null;
        Object.assign(found, Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== undefined)), { updated_at: now, version: found.version + 1 });
        return shown(found);
      },
      remove: async (tenantId, id) => {
        const found = own(tenantId, id);
        if (found) found.deleted = true;
        return found !== null;
      },
      sessions: async (tenantId, id, asked) => {
        up();
        return of(tenantId, id).filter(({ status }) => asked?.ended || status !== "terminated").toReversed().slice(0, asked?.limit ?? 10);
      },
      expired: async (tenantId, now) =>
        [...workspaces.values()]
          .filter((each) => each.tenant_id === tenantId && !each.deleted && each.last_used_at.getTime() + each.retention_days * 86_400_000 < now.getTime())
          .filter(({ id }) => of(tenantId, id).length > 0 && of(tenantId, id).every(({ status }) => status === "terminated"))
          .map(({ id }) => id),
      tenants: async (after, limit) => tenants().filter((id) => id > after).sort().slice(0, limit),
    },
  };
}
