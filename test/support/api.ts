/** Owns plain calls of the API for tests that look at statuses and bodies themselves. */

import * as z from "zod";

export interface Answer<T> {
  status: number;
  headers: Headers;
  body: T;
}

export interface Api {
  /** Any call; the body of the answer as it came, null where it is empty. */
  request(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer<unknown>>;
  /** A call that must succeed; throws with the answer's words where it does not, or where the body is not what the schema says. */
  get<T>(path: string, schema: z.ZodType<T>): Promise<T>;
  post<T>(path: string, body: unknown, schema: z.ZodType<T>): Promise<T>;
}

/** Calls `/api/v1` at `url` with `key`. */
export function apiOf(url: string, key: string): Api {
  async function request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer<unknown>> {
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body !== undefined && { "content-type": "application/json" }), ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text ? (JSON.parse(text) as unknown) : null };
  }
  async function expectOk<T>(method: string, path: string, body: unknown, schema: z.ZodType<T>): Promise<T> {
    const answer = await request(method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return schema.parse(answer.body);
  }
  return { request, get: (path, schema) => expectOk("GET", path, undefined, schema), post: (path, body, schema) => expectOk("POST", path, body, schema) };
}

/** The items of a list, of whatever kind. */
export const listOf = <T>(item: z.ZodType<T>) => z.object({ items: z.array(item) });
