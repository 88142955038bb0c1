/** Owns `client.usage`: what model calls used and cost, and the prices that they are counted with. */

import type { MetricsSummary, ModelPrice, ModelRequest, Pricing, UsageReport } from "../protocol/usage.ts";
import { ProtocolError } from "../core/errors.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource } from "../core/resource.ts";
import { api } from "../core/transport.ts";

export interface UsageSpan {
  /** `name=value`, with commas: `session`, `task`, `run`, `model`, `agent`, `outcome`, or a label's name. */
  selector?: string | undefined;
  /** RFC 3339 times in UTC; `from` is within, `to` is not. */
  from?: string | undefined;
  to?: string | undefined;
}
export interface UsageParams extends UsageSpan {
  /** `hour`, `day`, `month`, `model`, `agent`, `session`, …, or `label:<name>`; by model without it. */
  group_by?: string | undefined;
}

// The caller names the type that the route promises; fields that this client does not know are kept.
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters
function whole<T extends object>(field: keyof T & string): (value: unknown) => T {
  return (value) => {
    if (typeof value !== "object" || value === null || !(field in value)) throw new ProtocolError(`Expected an answer with '${field}' and got something else`);
    return value as T;
  };
}

/** Usage of the key's tenant. */
export class UsageReports extends Resource {
  /** Sums, the dearest first; by time in order of time. */
  report(params: UsageParams = {}, options?: RequestOptions): Promise<UsageReport> {
    return this.transport.json("GET", api`/usage`, whole<UsageReport>("rows"), { query: { ...params } }, options);
  }
  /** The same as CSV. */
  csv(params: UsageParams = {}, options?: RequestOptions): Promise<string> {
    return this.transport.send("GET", api`/usage`, (response) => response.text(), { query: { ...params, format: "csv" } }, options);
  }
  /** All of it at a glance: whole, by model, by agent. */
  summary(params: UsageSpan = {}, options?: RequestOptions): Promise<MetricsSummary> {
    return this.transport.json("GET", api`/metrics/summary`, whole<MetricsSummary>("total"), { query: { ...params } }, options);
  }
  /** The newest calls, one by one; at most 5,000 at a time. `next` is the `cursor` to go on with, null where there are no more. */
  requests(params: UsageSpan & { limit?: number | undefined; cursor?: string | undefined } = {}, options?: RequestOptions): Promise<{ requests: ModelRequest[]; next: string | null }> {
    const read = async (response: Response) => ({
      requests: (await response.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line) as ModelRequest),
      next: response.headers.get("x-next-cursor"),
    });
    return this.transport.send("GET", api`/metrics/requests`, read, { query: { ...params } }, options);
  }
  /** The prices: the tenant's own, then the book's. */
  prices(options?: RequestOptions): Promise<Pricing> {
    return this.transport.json("GET", api`/metrics/pricing`, whole<Pricing>("models"), {}, options);
  }
  /** Puts the tenant's own prices in place of those before; needs the scope `admin`. */
  setPrices(models: readonly ModelPrice[], options?: RequestOptions): Promise<Pricing> {
    return this.transport.json("PUT", api`/metrics/pricing`, whole<Pricing>("models"), { body: { models } }, options);
  }
}
