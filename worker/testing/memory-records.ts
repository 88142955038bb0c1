/** Owns records that live in memory, for tests of the doors: the same answers as Postgres gives, without filters beyond tenant, status and session. */

import type { ApiKey, Page, PageQuery, RunnerToken, Tenant } from "../../sdk/protocol/index.ts";
import type { Row } from "../../durable-objects/index.ts";
import { decodeCursor } from "../db/page.ts";
import type { Records } from "../db/records.ts";
import { memoryGateway } from "./fake-gateway.ts";
import { memoryStorage } from "./memory-storage.ts";

type Kept<T> = T & { hash: string; previous?: { hash: string; until: Date } };

type ValueOf<R extends Row["resource"]> = Extract<Row, { resource: R }>["value"];
interface Filter {
  status?: string | undefined;
  session_id?: string | undefined;
}

function pageOf<T>(all: T[], query: PageQuery): Page<T> {
  if (query.cursor !== undefined) decodeCursor(query.cursor);
  const offset = query.offset ?? 0;
  return { items: all.toReversed().slice(offset, offset + query.limit), total: all.length, limit: query.limit, offset, next_cursor: null };
}
function shown<T>({ hash: _hash, previous: _previous, ...rest }: Kept<T>): T {
  return rest as unknown as T;
}

/** Records with handles for tests: `down` makes all of them unreachable. */
export function memoryRecords(): Records & { down: Error | null; keyReads: number } {
  const tenants = new Map<string, Tenant>();
  const keys = new Map<string, Kept<ApiKey>>();
  const tokens = new Map<string, Kept<RunnerToken>>();
  const rows = new Map<string, Row>();
  const state = { down: null as Error | null, keyReads: 0 };
  const up = () => {
    if (state.down) throw state.down;
  };
  const values = <R extends Row["resource"]>(resource: R, tenantId: string, filter: Filter): ValueOf<R>[] =>
    [...rows.values()]
      .filter(({ resource: kind, value }) => {
        const { tenant_id, status, session_id } = value as { tenant_id: string; status: string; session_id?: string };
        return kind === resource && tenant_id === tenantId && (!filter.status || status === filter.status) && (!filter.session_id || session_id === filter.session_id);
      })
      .map(({ value }) => value as ValueOf<R>);
  const list = <R extends Row["resource"]>(resource: R) => async (tenantId: string, filter: PageQuery & Filter): Promise<Page<ValueOf<R>>> => {
    up();
    return pageOf(values(resource, tenantId, filter), filter);
  };
  const mine = <T extends { tenant_id: string }>(all: Map<string, T>, tenantId: string | null) => [...all.values()].filter((each) => tenantId === null || each.tenant_id === tenantId);
  const own = <T extends { tenant_id: string }>(all: Map<string, T>, tenantId: string | null, id: string) => {
    up();
    const found = all.get(id);
    return found && (tenantId === null || found.tenant_id === tenantId) ? found : null;
  };

  return {
    get down() {
      return state.down;
    },
    set down(error) {
      state.down = error;
    },
    get keyReads() {
      return state.keyReads;
    },
    ...memoryStorage(up, () => [...rows.values()].flatMap((row) => (row.resource === "session" ? [row.value] : [])), () => [...tenants.keys()]),
    ...memoryGateway(up),
    ping: async () => up(),
    clock: async () => {
      up();
      return new Date();
    },
    projection: {
      apply: async (all) => {
        up();
        for (const row of all) if ((rows.get(row.value.id)?.value.version ?? -1) < row.value.version) rows.set(row.value.id, row);
      },
    },
    lists: {
      sessions: list("session"),
      session: async (tenantId, id) => values("session", tenantId, {}).find((each) => each.id === id) ?? null,
      tasks: list("task"),
      permissions: list("permission"),
      runners: list("runner"),
      runner: async (tenantId, id) => values("runner", tenantId, {}).find((each) => each.id === id) ?? null,
      schedules: async (tenantId, filter) => {
        up();
        return pageOf(values("schedule", tenantId, filter).filter(({ status }) => status !== "deleted"), filter);
      },
      hosts: list("host"),
    },
    access: {
      createTenant: async ({ id, name, limits, created_at }) => {
        up();
        const tenant = tenants.get(id) ?? { id, name, limits, created_at: created_at.toISOString() };
        tenants.set(id, tenant);
        return tenant;
      },
      tenant: async (id) => tenants.get(id) ?? null,
      tenants: async (query) => pageOf([...tenants.values()], query),
      updateTenant: async (id, change) => {
        const known = tenants.get(id);
        if (!known) return null;
        const next = { ...known, name: change.name ?? known.name, limits: change.limits ?? known.limits };
        tenants.set(id, next);
        return next;
      },
      createKey: async ({ created_at, expires_at, hash, ...row }) => {
        up();
        const key = { ...row, hash, created_at: created_at.toISOString(), expires_at: expires_at?.toISOString() ?? null, revoked_at: null, last_used_at: null };
        keys.set(key.id, key);
        return shown<ApiKey>(key);
      },
      keyByHash: async (hash) => {
        up();
        state.keyReads++;
        const found = [...keys.values()].find((each) => each.hash === hash);
        return found ? shown<ApiKey>(found) : null;
      },
      key: async (tenantId, id) => {
        const found = own(keys, tenantId, id);
        return found && shown<ApiKey>(found);
      },
      keys: async (tenantId, query) => pageOf(mine(keys, tenantId).map((each) => shown<ApiKey>(each)), query),
      revokeKey: async (tenantId, id, now) => {
        const found = own(keys, tenantId, id);
        if (!found) return null;
        found.revoked_at ??= now.toISOString();
        return { key: shown<ApiKey>(found), hash: found.hash };
      },
      touchKey: async (id, now) => {
        const found = keys.get(id);
        if (found) found.last_used_at = now.toISOString();
      },
      createRunnerToken: async ({ created_at, hash, ...row }) => {
        up();
        const token = { ...row, hash, created_at: created_at.toISOString(), revoked_at: null };
        tokens.set(token.id, token);
        return shown<RunnerToken>(token);
      },
      runnerTokenByHash: async (hash, now) => {
        up();
        const found = [...tokens.values()].find((each) => !each.revoked_at && (each.hash === hash || (each.previous?.hash === hash && each.previous.until > now)));
        return found ? shown<RunnerToken>(found) : null;
      },
      runnerTokens: async (tenantId, query) => pageOf(mine(tokens, tenantId).map((each) => shown<RunnerToken>(each)), query),
      rotateRunnerToken: async (tenantId, id, fresh, until) => {
        const found = own(tokens, tenantId, id);
        if (!found || found.revoked_at) return null;
        Object.assign(found, fresh, { previous: { hash: found.hash, until } });
        return shown<RunnerToken>(found);
      },
      revokeRunnerToken: async (tenantId, id, now) => {
        const found = own(tokens, tenantId, id);
        if (!found) return null;
        found.revoked_at ??= now.toISOString();
        return shown<RunnerToken>(found);
      },
    },
  };
}
