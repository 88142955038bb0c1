/** Owns what the resource classes share: lists, single resources and their lenient checks. */

import { ProtocolError } from "./errors.ts";
import { pageData, Pages } from "./page.ts";
import type { Query, RequestOptions } from "./request.ts";
import type { Transport } from "./transport.ts";

/** Arguments of every list call. */
export interface ListParams {
  /** Items a page, 1 to 200. */
  limit?: number | undefined;
  offset?: number | undefined;
  cursor?: string | undefined;
}

/** Base of the resource classes: they hold the transport and nothing else. */
export abstract class Resource {
  protected readonly transport: Transport;
  constructor(transport: Transport) {
    this.transport = transport;
  }
  protected pages<T>(path: string, query: Query, options: RequestOptions | undefined): Pages<T> {
    return new Pages<T>((cursor) => {
      // A cursor says where to go on by itself; an offset beside it would skip again.
      const at = cursor === null ? query : { ...query, cursor, offset: undefined };
      return this.transport.json("GET", path, pageData<T>, { query: at }, options);
    });
  }
}

/** Checks that the answer is a resource (an object with an id); fields that this client does not know are kept. */
// The caller names the type that the route promises; only the envelope is checked, so that the server may grow.
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters
export function resource<T extends { id: string }>(value: unknown): T {
  if (typeof value !== "object" || value === null || !("id" in value) || typeof value.id !== "string") {
    throw new ProtocolError("Expected a resource with an id and got something else");
  }
  return value as T;
}

/** Labels as a query takes them: `k:v` pairs. */
export function labelQuery(labels: Readonly<Record<string, string>> | undefined): string[] | undefined {
  return labels && Object.entries(labels).map(([key, value]) => `${key}:${value}`);
}
