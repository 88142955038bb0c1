/** Owns the queries over model calls: their records as they are, and their sums by whatever they have in common. */

import { and, desc, eq, gte, lt, sql, type SQL } from "drizzle-orm";
import type { ModelRequest, UsageRow, UsageTotals } from "../../sdk/protocol/index.ts";
import type { Database } from "./client.ts";
import { modelRequests } from "./schema.ts";

/** What of a tenant's calls is looked at. Every condition must hold; labels too. */
export interface UsageFilter {
  from?: Date | undefined;
  to?: Date | undefined;
  labels?: Record<string, string> | undefined;
  session_id?: string | undefined;
  task_id?: string | undefined;
  run_id?: string | undefined;
  model?: string | undefined;
  agent?: string | undefined;
  outcome?: ModelRequest["outcome"] | undefined;
}

/** Rows of a report at most; the dearest come first. */
const MAX_ROWS = 1_000;

function where(tenantId: string, filter: UsageFilter): SQL | undefined {
  const t = modelRequests;
  const { from, to, labels, session_id, task_id, run_id, model, agent, outcome } = filter;
  return and(
    eq(t.tenant_id, tenantId),
    from && gte(t.created_at, from),
    to && lt(t.created_at, to),
    labels && Object.keys(labels).length > 0 ? sql`${t.labels} @> ${JSON.stringify(labels)}::jsonb` : undefined,
    session_id === undefined ? undefined : eq(t.session_id, session_id),
    task_id === undefined ? undefined : eq(t.task_id, task_id),
    run_id === undefined ? undefined : eq(t.run_id, run_id),
    model === undefined ? undefined : eq(t.model, model),
    agent === undefined ? undefined : eq(t.agent, agent),
    outcome === undefined ? undefined : eq(t.outcome, outcome),
  );
}

const t = modelRequests;
const number = (expression: SQL) => expression.mapWith(Number);
const TOTALS = {
  requests: number(sql`count(*)`),
  failed_requests: number(sql`count(*) filter (where ${t.outcome} in ('failed', 'unreachable', 'refused'))`),
  unpriced_requests: number(sql`count(*) filter (where not ${t.priced})`),
  estimated_requests: number(sql`count(*) filter (where ${t.estimated})`),
  input_tokens: number(sql`coalesce(sum(${t.input_tokens}), 0)`),
  output_tokens: number(sql`coalesce(sum(${t.output_tokens}), 0)`),
  cache_read_tokens: number(sql`coalesce(sum(${t.cache_read_tokens}), 0)`),
  cache_write_tokens: number(sql`coalesce(sum(${t.cache_write_tokens}), 0)`),
  reasoning_tokens: number(sql`coalesce(sum(${t.reasoning_tokens}), 0)`),
  cost_usd: number(sql`coalesce(sum(${t.cost_usd}), 0)`),
  median_duration_ms: sql<number | null>`percentile_cont(0.5) within group (order by ${t.duration_ms})`,
  median_ttft_ms: sql<number | null>`percentile_cont(0.5) within group (order by ${t.ttft_ms})`,
};
type Sums = Omit<UsageTotals, "cache_hit_rate">;

function totals(sums: Sums): UsageTotals {
  const read = sums.input_tokens + sums.cache_read_tokens + sums.cache_write_tokens;
  const median = (value: number | string | null) => (value === null ? null : Number(value));
  return {
    ...sums, cost_usd: Math.round(sums.cost_usd * 1e9) / 1e9, cache_hit_rate: read === 0 ? null : sums.cache_read_tokens / read,
    median_duration_ms: median(sums.median_duration_ms), median_ttft_ms: median(sums.median_ttft_ms),
  };
}

/** What the calls are put together by, as text. */
function keyOf(group: string): SQL<string | null> {
  if (group.startsWith("label:")) return sql`${t.labels} ->> ${group.slice(6)}::text`;
  const day = (format: string) => sql<string>`to_char(${t.created_at} at time zone 'UTC', ${sql.raw(`'${format}'`)})`;
  switch (group) {
    case "hour": return day('YYYY-MM-DD"T"HH24":00:00Z"');
    case "day": return day("YYYY-MM-DD");
    case "month": return day("YYYY-MM");
    case "agent": return sql`${t.agent}`;
    case "session": return sql`${t.session_id}`;
    case "task": return sql`${t.task_id}`;
    case "run": return sql`${t.run_id}`;
    case "api": return sql`${t.api}`;
    case "upstream": return sql`${t.upstream}`;
    case "key_source": return sql`${t.key_source}`;
    case "agent_config": return sql`${t.agent_config_id}`;
    case "outcome": return sql`${t.outcome}`;
    default: return sql`${t.model}`;
  }
}

const TIMES = new Set(["hour", "day", "month"]);

/** JSON as Postgres takes it: without what its text cannot hold, which an upstream may well have said. */
function storable(values: readonly ModelRequest[]): string {
  const json = JSON.stringify(values);
  if (!/\\u(?:0000|d[89a-f])/i.test(json)) return json;
  return JSON.stringify(values, (_key, value: unknown) => (typeof value === "string" ? value.replaceAll("\0", "").toWellFormed() : value));
}

export function usageOf(db: Database) {
  return {
    async total(tenantId: string, filter: UsageFilter): Promise<UsageTotals> {
      const [row] = await db.select(TOTALS).from(t).where(where(tenantId, filter));
      if (!row) throw new Error("a sum without a row");
      return totals(row);
    },
    /** By time in order of time, by all else the dearest first. */
    async by(tenantId: string, group: string, filter: UsageFilter): Promise<UsageRow[]> {
      const key = sql<string | null>`key`;
      const grouped = db.select({ ...TOTALS, key: keyOf(group).as("key") }).from(t).where(where(tenantId, filter)).groupBy(key);
      const rows = await (TIMES.has(group) ? grouped.orderBy(desc(key)) : grouped.orderBy(desc(TOTALS.cost_usd), desc(TOTALS.requests))).limit(MAX_ROWS);
      const shown = rows.map(({ key: name, ...sums }) => ({ key: name, ...totals(sums) }));
      return TIMES.has(group) ? shown.reverse() : shown;
    },
    /** Calls, newest first; `before` goes on behind a call that was seen. */
    async requests(tenantId: string, filter: UsageFilter, limit: number, before?: { at: string; id: string } | null): Promise<ModelRequest[]> {
      const rest = before ? sql`(${t.created_at}, ${t.id}) < (${before.at}::timestamptz, ${before.id}::text)` : undefined;
      const rows = await db.select().from(t).where(and(where(tenantId, filter), rest)).orderBy(desc(t.created_at), desc(t.id)).limit(limit);
      return rows.map((row) => ({ ...row, created_at: row.created_at.toISOString() }));
    },
    /** Idempotent by id. */
    async record(values: readonly ModelRequest[]): Promise<void> {
      // As one parameter: a statement with one for each of a hundred calls' columns takes longer to put together than to run.
      if (values.length === 0) return;
      try {
        await db.execute(sql`insert into ${t} select * from jsonb_populate_recordset(null::${t}, ${storable(values)}::jsonb) on conflict do nothing`);
      } catch (error) {
        // Without the statement, which holds all of the records and would stand in a log.
        throw error instanceof Error && error.cause instanceof Error ? error.cause : error;
      }
    },
  };
}
