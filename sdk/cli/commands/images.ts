/** Owns `--image`: images of this machine that go with a prompt, so that the agent sees them. */

import { readFile } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { imageTypeOf, MAX_ATTACHMENT_BYTES, MAX_TASK_ATTACHMENT_BYTES, MAX_TASK_ATTACHMENTS } from "../../protocol/attachment.ts";
import type { AttachmentCreateParams } from "../../resources/attachments.ts";
import type { Context } from "../context.ts";
import { UserError } from "../io.ts";
import { texts } from "../option.ts";

export const imageOption = { image: texts("FILE", "an image that the agent sees with the prompt: PNG, JPEG, GIF or WebP (repeatable)") };

const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;

/** Reads them before anything is made, so that a mistake leaves no session behind. */
export async function readImages({ io }: Context, paths: readonly string[] = []): Promise<AttachmentCreateParams[]> {
  if (paths.length > MAX_TASK_ATTACHMENTS) throw new UserError(`${MAX_TASK_ATTACHMENTS} images go with one prompt, not ${paths.length}`);
  const images = await Promise.all(
    paths.map(async (path) => {
      const bytes = await readFile(resolve(io.cwd, path)).catch((error: unknown) => {
        throw new UserError(`Cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`);
      });
      const media_type = imageTypeOf(bytes);
      if (media_type === null) throw new UserError(`${path} is no PNG, JPEG, GIF or WebP image`);
      if (bytes.length > MAX_ATTACHMENT_BYTES) throw new UserError(`${path} has ${mib(bytes.length)}; an image may have ${mib(MAX_ATTACHMENT_BYTES)}`);
      return { bytes: new Uint8Array(bytes), media_type, name: basename(path) };
    }),
  );
  const all = images.reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (all > MAX_TASK_ATTACHMENT_BYTES) throw new UserError(`The images have ${mib(all)} together; those of one prompt may have ${mib(MAX_TASK_ATTACHMENT_BYTES)}`);
  return images;
}

/** Gives them to the session; answers what a task names them by, nothing where there are none. */
export async function sendImages({ client }: Context, sessionId: string, images: readonly AttachmentCreateParams[], signal?: AbortSignal): Promise<string[] | undefined> {
  const ids: string[] = [];
  for (const image of images) ids.push((await client.sessions.attachments.create(sessionId, image, { signal })).id);
  return ids.length > 0 ? ids : undefined;
}
