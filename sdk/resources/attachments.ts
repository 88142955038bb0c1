/** Owns `client.sessions.attachments`: images that a session's tasks may name, so that the agent sees them. */

import type { Attachment, ImageType } from "../protocol/index.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource, resource } from "../core/resource.ts";
import { api } from "../core/transport.ts";

export interface AttachmentCreateParams {
  /** The image itself, at most 8 MiB. */
  bytes: Uint8Array<ArrayBuffer> | Blob;
  media_type: ImageType;
  /** A file name, for people and for the agent. */
  name?: string | undefined;
}

/** Images of a session; name their ids in a task's `attachments`. */
export class SessionAttachments extends Resource {
  create(sessionId: string, { bytes, media_type, name }: AttachmentCreateParams, options?: RequestOptions): Promise<Attachment> {
    return this.transport.json("POST", api`/sessions/${sessionId}/attachments`, resource<Attachment>, { query: { name }, bytes: { body: bytes, type: media_type } }, options);
  }
  /** The image's bytes. `NotFoundError` once its workspace is gone. */
  read(sessionId: string, id: string, options?: RequestOptions): Promise<Blob> {
    return this.transport.send("GET", api`/sessions/${sessionId}/attachments/${id}`, (response) => response.blob(), {}, options);
  }
}
