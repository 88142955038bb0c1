/** Owns pages: a list call can be awaited for one page, or iterated for everything. */

import * as z from "zod";
import { ProtocolError } from "./errors.ts";

/** Loose on purpose: a newer server may add fields, an item is checked only for being an object. */
const envelope = z.looseObject({
  items: z.array(z.record(z.string(), z.unknown())),
  total: z.number().nullish(),
  limit: z.number().nullish(),
  offset: z.number().nullish(),
  next_cursor: z.string().nullish(),
});

export interface PageData<T> {
  items: T[];
  total: number;
  limit: number;
  offset: number;
  next_cursor: string | null;
}

/** Checks the envelope of a list; `ProtocolError` where it is another thing. */
export function pageData<T>(value: unknown): PageData<T> {
  const parsed = envelope.safeParse(value);
  if (!parsed.success) throw new ProtocolError("Expected a list ({items, total, next_cursor}) and got something else");
  const { items, total, limit, offset, next_cursor } = parsed.data;
  return { items: items as T[], total: total ?? items.length, limit: limit ?? items.length, offset: offset ?? 0, next_cursor: next_cursor ?? null };
}

/** One page of a list. Iterating it gives the items of this page and of all that follow. */
export class Page<T> implements PageData<T>, AsyncIterable<T> {
  readonly items: T[];
  readonly total: number;
  readonly limit: number;
  readonly offset: number;
  readonly next_cursor: string | null;
  readonly #load: (cursor: string) => Promise<PageData<T>>;
  constructor(data: PageData<T>, load: (cursor: string) => Promise<PageData<T>>) {
    this.items = data.items;
    this.total = data.total;
    this.limit = data.limit;
    this.offset = data.offset;
    this.next_cursor = data.next_cursor;
    this.#load = load;
  }
  /** The page after this one; null on the last. */
  async next(): Promise<Page<T> | null> {
    return this.next_cursor === null ? null : new Page(await this.#load(this.next_cursor), this.#load);
  }
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    yield* this.items;
    for (let page = await this.next(); page; page = await page.next()) yield* page.items;
  }
}

/** What a list call gives: `await` it for the first page, `for await` over it for every item. Nothing is asked before either. */
export class Pages<T> implements PromiseLike<Page<T>>, AsyncIterable<T> {
  readonly #load: (cursor: string | null) => Promise<PageData<T>>;
  #first: Promise<Page<T>> | null = null;
  constructor(load: (cursor: string | null) => Promise<PageData<T>>) {
    this.#load = load;
  }
  #page(): Promise<Page<T>> {
    this.#first ??= this.#load(null).then((data) => new Page(data, this.#load));
    return this.#first;
  }
  // Being awaitable is this class's purpose.
  // oxlint-disable-next-line unicorn/no-thenable
  then<A = Page<T>, B = never>(onOk?: ((page: Page<T>) => A | PromiseLike<A>) | null, onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<A | B> {
    return this.#page().then(onOk, onError);
  }
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    yield* await this.#page();
  }
}
