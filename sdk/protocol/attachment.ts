/** Owns attachments: the images that a person gives with a prompt, how large they may be, and how their kind is told from their bytes. */

import * as z from "zod";
import { idOf } from "./ids.ts";

/** Largest image. */
export const MAX_ATTACHMENT_BYTES = 8 * 1024 * 1024;
/** Most images of one task, and their bytes together: a model's request holds no more once they are base64. */
export const MAX_TASK_ATTACHMENTS = 10;
export const MAX_TASK_ATTACHMENT_BYTES = 20 * 1024 * 1024;
/** Most images of one session. */
export const MAX_SESSION_ATTACHMENTS = 1_000;
const MAX_NAME_CHARS = 100;

export const imageType = z.enum(["image/png", "image/jpeg", "image/gif", "image/webp"]);
export type ImageType = z.infer<typeof imageType>;
const ENDINGS: Readonly<Record<ImageType, readonly string[]>> = { "image/png": ["png"], "image/jpeg": ["jpg", "jpeg"], "image/gif": ["gif"], "image/webp": ["webp"] };

export const attachment = z.object({
  id: idOf("attachment"),
  /** A plain file name whose ending fits the kind. */
  name: z.string().max(255),
  media_type: imageType,
  /** Bytes. */
  size: z.number().int().min(1).max(MAX_ATTACHMENT_BYTES),
});
export type Attachment = z.infer<typeof attachment>;

/** The ids that a task is given. */
export const attachmentIds = z
  .array(idOf("attachment"))
  .max(MAX_TASK_ATTACHMENTS, `at most ${MAX_TASK_ATTACHMENTS} images with one task`)
  .refine((ids) => new Set(ids).size === ids.length, "the same image twice");

/** What kind of image the bytes are, by the marks that each kind begins with; null where it is none of those that agents can see. */
export function imageTypeOf(bytes: Uint8Array): ImageType | null {
  const head = String.fromCharCode(...bytes.subarray(0, 12));
  if (head.startsWith("\x89PNG\r\n\x1a\n")) return "image/png";
  if (head.startsWith("\xff\xd8\xff")) return "image/jpeg";
  if (/^GIF8[79]a/.test(head)) return "image/gif";
  return head.startsWith("RIFF") && head.slice(8) === "WEBP" ? "image/webp" : null;
}

/** A name that is safe as a file's and as a text's: no path, no controls or invisible characters, no leading dot, an ending that fits. */
export function attachmentName(given: string, mediaType: ImageType): string {
  const last = given.toWellFormed().normalize("NFC").split(/[/\\]/).at(-1) ?? "";
  const plain = last.replace(/[\p{C}\p{Z}]+/gu, "-").replace(/[^\p{L}\p{M}\p{N}._-]+/gu, "-").replace(/^[.-]+/, "");
  const [ending = "png", ...others] = ENDINGS[mediaType];
  const dot = plain.lastIndexOf(".");
  const own = dot === -1 ? "" : plain.slice(dot + 1).toLowerCase();
  const fits = own === ending || others.includes(own);
  const stem = (dot > 0 && /^(png|jpe?g|gif|webp)$/.test(own) ? plain.slice(0, dot) : plain) || "image";
  // A cut through a pair leaves half of it.
  return `${stem.slice(0, MAX_NAME_CHARS).toWellFormed().replaceAll("\ufffd", "")}.${fits ? own : ending}`;
}
