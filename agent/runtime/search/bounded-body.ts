/** Owns reading an answer's body no further than its bound. */

/** Bytes of a stream up to `limit`, and whether there were more; what is beyond is not read. */
export async function boundedBytes(stream: AsyncIterable<Uint8Array>, limit: number): Promise<{ bytes: Buffer; truncated: boolean }> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of stream) {
    parts.push(part);
    size += part.byteLength;
    // Breaking off ends the request.
    if (size > limit) return { bytes: Buffer.concat(parts).subarray(0, limit), truncated: true };
  }
  return { bytes: Buffer.concat(parts), truncated: false };
}
