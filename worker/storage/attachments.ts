/** Owns the bytes of images that are sent to sessions: sealed in the object store, under the workspace whose retention they share. */

import { Failure } from "../../sdk/protocol/index.ts";
import type { ObjectStore } from "./object-store.ts";
import type { Storage } from "./storage.ts";

export interface AttachmentPlace {
  tenant_id: string;
  workspace_id: string;
  session_id: string;
  id: string;
}

/** Below its workspace, so that all of a workspace's images go with it, without an index. */
export function attachmentKey({ tenant_id, workspace_id, session_id, id }: AttachmentPlace): string {
  return `${prefixOf(tenant_id, workspace_id)}${session_id}/${id}`;
}
const prefixOf = (tenantId: string, workspaceId: string) => `attachments/${tenantId}/${workspaceId}/`;

type Bytes = Pick<Storage, "objects" | "dataKey">;

export async function putAttachment({ objects, dataKey }: Bytes, place: AttachmentPlace, bytes: Uint8Array): Promise<void> {
  const key = attachmentKey(place);
  await objects.put(key, await (await dataKey(place.tenant_id)).seal(key, bytes));
}

/** Throws `not_found` where it is not kept any more, `conflict` where it was changed or its tenant's key is gone. */
export async function getAttachment({ objects, dataKey }: Bytes, place: AttachmentPlace): Promise<Uint8Array<ArrayBuffer>> {
  const key = attachmentKey(place);
  const found = await objects.get(key);
  if (!found) throw new Failure("not_found", "This image is not kept any more: it went with its workspace");
  return new Uint8Array(await (await dataKey(place.tenant_id)).open(key, await found.bytes()));
}

/** Removes all images of a workspace's sessions; answers how many. */
export async function dropAttachments(objects: ObjectStore, tenantId: string, workspaceId: string): Promise<number> {
  let count = 0;
  for (;;) {
    // From the beginning each time: what was listed is gone.
    const { items } = await objects.list(prefixOf(tenantId, workspaceId));
    if (items.length === 0) return count;
    await objects.delete(items.map(({ key }) => key));
    count += items.length;
  }
}
