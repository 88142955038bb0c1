/** Owns `client.sessions.files`: the files of a session's workspace, read where they lie. */

import type { FileEntry } from "../protocol/index.ts";
import { pageData } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource } from "../core/resource.ts";
import { api } from "../core/transport.ts";

/** Files of a session's workspace; paths are relative to its root. */
export class SessionFiles extends Resource {
  /** Entries of one directory (the root without `path`). */
  async list(sessionId: string, path = "", options?: RequestOptions): Promise<FileEntry[]> {
    const page = await this.transport.json("GET", api`/sessions/${sessionId}/files`, pageData<FileEntry>, { query: { path } }, options);
    return page.items;
  }
  /** A file's bytes, whole. */
  read(sessionId: string, path: string, options?: RequestOptions): Promise<Uint8Array> {
    return this.transport.send("GET", api`/sessions/${sessionId}/files/content`, async (response) => new Uint8Array(await response.arrayBuffer()), { query: { path } }, options);
  }
  /** A file's text, read as UTF-8. */
  async text(sessionId: string, path: string, options?: RequestOptions): Promise<string> {
    return new TextDecoder().decode(await this.read(sessionId, path, options));
  }
}
