/** Owns the calls that a session's object answers about the images that were sent to it. */

import type { Attachment, Result } from "../sdk/protocol/index.ts";
import type { Actor } from "./rpc.ts";

/** An image of a session, and the workspace whose retention it is kept under. */
export interface StoredAttachment {
  attachment: Attachment;
  workspace_id: string;
}

export interface SessionAttachmentRpc {
  /** Its bytes are kept: tasks may name it from now on. Idempotent by id. `conflict` where the session has ended or has too many. */
  addAttachment(actor: Actor, attachment: Attachment): Promise<Result<Attachment>>;
  readAttachment(actor: Actor, id: string): Promise<Result<StoredAttachment>>;
}
