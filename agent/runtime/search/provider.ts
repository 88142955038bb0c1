/** Owns what a search engine must offer to become the tools `web_search` and `fetch_url`: fits Tavily, Brave, Serper, Jina and SearXNG alike. */

export interface SearchResult {
  title: string;
  url: string;
  /** A few sentences of the page; empty where the engine gives none. */
  snippet: string;
  /** When the page was published, as the engine writes it. */
  published?: string | undefined;
}

export interface FetchedPage {
  /** After redirects. */
  url: string;
  title: string | null;
  /** Readable text. */
  text: string;
  /** The text is a part: the page is longer than `maxBytes` or than the engine gives. */
  truncated: boolean;
}

export interface SearchOptions {
  /** Results, at most. */
  limit: number;
  signal: AbortSignal;
}

export interface FetchOptions {
  /** Of the page as it comes. */
  maxBytes: number;
  signal: AbortSignal;
}

/** An engine. Both methods throw `SearchError` for what a model can be told. */
export interface SearchProvider {
  /** Such as `tavily`. */
  readonly name: string;
  search(query: string, options: SearchOptions): Promise<SearchResult[]>;
  /** Reads one page. Engines that cannot leave it out: pages are then fetched from here, never from private addresses. */
  fetch?(url: string, options: FetchOptions): Promise<FetchedPage>;
}

/** An expected failure, in words that the model and the person behind it can act on. */
export class SearchError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "SearchError";
  }
}
