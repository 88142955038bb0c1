/** Owns what a session knows of the images that were sent to it; their bytes are in the object store. */

import { fail, MAX_SESSION_ATTACHMENTS, MAX_TASK_ATTACHMENT_BYTES, ok, type Attachment as Image, type Result } from "../../sdk/protocol/index.ts";
import type { StoredAttachment } from "../attachment-rpc.ts";
import type { Sql } from "../base/sql.ts";
import type { Actor } from "../rpc.ts";
import type { Engine } from "./engine.ts";

export const IMAGE_TABLES: readonly string[] = ["create table images (id text primary key, value text not null) without rowid"];

const UNKNOWN_SESSION = fail("not_found", "no session of that id");
const UNKNOWN_IMAGE = fail("not_found", "no attachment of that id in this session");

export class Images {
  readonly #sql: Sql;
  constructor(sql: Sql) {
    this.#sql = sql;
  }
  put(image: Image): void {
    this.#sql.exec("insert or ignore into images values (?, ?)", image.id, JSON.stringify(image));
  }
  get(id: string): Image | null {
    const row = this.#sql.exec<{ value: string }>("select value from images where id = ?", id).toArray()[0];
    return row ? (JSON.parse(row.value) as Image) : null;
  }
  get count(): number {
    return this.#sql.exec<{ count: number }>("select count(*) as count from images").one().count;
  }
}

/** What callers ask about images. */
export class ImageApi {
  readonly #engine: Engine;
  constructor(engine: Engine) {
    this.#engine = engine;
  }

  add(actor: Actor, image: Image): Result<Image> {
    const { images, state } = this.#engine;
    if (state.session?.tenant_id !== actor.tenant_id) return UNKNOWN_SESSION;
    const known = images.get(image.id);
    if (known) return ok(known);
    if (state.session.status === "terminated") return fail("conflict", "the session has ended and takes no more images", { details: { status: "terminated" } });
    if (images.count >= MAX_SESSION_ATTACHMENTS) return fail("conflict", `this session has ${MAX_SESSION_ATTACHMENTS} images; use another session`, { details: { attachments: MAX_SESSION_ATTACHMENTS } });
    images.put(image);
    return ok(image);
  }

  read(actor: Actor, id: string): Result<StoredAttachment> {
    const { images, state } = this.#engine;
    if (state.session?.tenant_id !== actor.tenant_id) return UNKNOWN_SESSION;
    const attachment = images.get(id);
    return attachment ? ok({ attachment, workspace_id: state.session.workspace_id }) : UNKNOWN_IMAGE;
  }

  /** The images that a task names, in its order. */
  of(ids: readonly string[]): Result<Image[]> {
    const found: Image[] = [];
    for (const [at, id] of ids.entries()) {
      const image = this.#engine.images.get(id);
      if (!image) return fail("bad_request", `attachments.${at}: no attachment ${id} in this session; send its bytes to the session first`, { details: { [`attachments.${at}`]: "not in this session" } });
      found.push(image);
    }
    const bytes = found.reduce((sum, { size }) => sum + size, 0);
    if (bytes > MAX_TASK_ATTACHMENT_BYTES) return fail("bad_request", `attachments: ${bytes} bytes together, and a task takes ${MAX_TASK_ATTACHMENT_BYTES}; make them smaller or send fewer`, { details: { attachments: `at most ${MAX_TASK_ATTACHMENT_BYTES} bytes together` } });
    return ok(found);
  }
}
