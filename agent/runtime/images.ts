/** Owns which images models take: one that they do not take would be refused now, and with its whole conversation from then on. */

/** What all providers take of one image; some take more. */
export const MAX_IMAGE_BYTES = 5 * 1024 * 1024;
/** Bytes that tell what an image is. */
const HEAD_BYTES = 12;
const SIGNATURES: [mediaType: string, offset: number, bytes: number[]][] = [
  ["image/png", 0, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]],
  ["image/jpeg", 0, [0xff, 0xd8, 0xff]],
  ["image/gif", 0, [0x47, 0x49, 0x46, 0x38]],
  ["image/webp", 8, [0x57, 0x45, 0x42, 0x50]],
];

export interface Image {
  type: "image";
  /** Base64 without a prefix. */
  data: string;
  mediaType: string;
}

/** The media type of an image that models take; null for everything else. Its name does not count. */
export function imageType(bytes: Uint8Array): string | null {
  return SIGNATURES.find(([, offset, signature]) => signature.every((byte, i) => bytes[offset + i] === byte))?.[0] ?? null;
}

/** The image under the type that it has, or in words why no model takes it. */
export function takenImage(image: Image): Image | { wrong: string } {
  const mediaType = imageType(Buffer.from(image.data.slice(0, HEAD_BYTES * 2), "base64"));
  if (mediaType === null) return { wrong: `${image.mediaType.slice(0, 100)} is not shown: models see PNG, JPEG, GIF and WebP` };
  return mediaType === image.mediaType ? image : { ...image, mediaType };
}
