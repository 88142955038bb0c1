/** Owns the object store over the S3 interface: S3 itself, GCS, or whatever else speaks it. */

import type * as Sdk from "@aws-sdk/client-s3";
import { Failure, type Secret } from "../../sdk/protocol/index.ts";
import { emptyOf, MAX_KEYS, type ByteRange, type ObjectStore } from "./object-store.ts";

export interface S3Settings {
  /** `https://host`; Amazon's own of the region where it is not given. */
  endpoint?: string | undefined;
  bucket: string;
  /** `auto` where the store has none. */
  region: string;
  accessKeyId: string;
  secretAccessKey: Secret;
}

interface Opened {
  sdk: typeof Sdk;
  client: Sdk.S3Client;
}

const TRIES = 3;
/** Deletions of one key that go at once, where the store has none of many. */
const AT_ONCE = 8;

const statusOf = (error: unknown) => (error as Partial<Sdk.S3ServiceException>).$metadata?.httpStatusCode;
const nameOf = (error: unknown) => (error instanceof Error ? error.name : "unknown");

/** What a store's refusal means: it is not there now, or it is set up wrongly; both are the deployment's, neither the caller's. */
function refusal(error: unknown): Failure {
  const status = statusOf(error);
  const reason = `${nameOf(error)}: ${error instanceof Error ? error.message : String(error)}`.slice(0, 200);
  const wrong = status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 429;
  return new Failure("unavailable", wrong ? `The object store refuses (${nameOf(error)})` : "The object store cannot be reached", {
    details: { reason, retry_after_seconds: wrong ? 30 : 2 },
    ...(wrong && { hint: "Check MARIONETTE_S3_ENDPOINT, _BUCKET, _REGION and the access key" }),
  });
}

const rangeOf = ({ offset, length }: ByteRange) => `bytes=${offset}-${offset + length - 1}`;

/** A store over `settings`. The client is loaded with the first call, so that a deployment on R2 never runs it. */
export function s3Store(settings: S3Settings): ObjectStore {
  let opened: Promise<Opened> | undefined;
  async function open(): Promise<Opened> {
    const sdk = await import("@aws-sdk/client-s3");
    const client = new sdk.S3Client({
      ...(settings.endpoint !== undefined && { endpoint: settings.endpoint }),
      region: settings.region,
      forcePathStyle: true,
      maxAttempts: TRIES,
      credentials: { accessKeyId: settings.accessKeyId, secretAccessKey: settings.secretAccessKey.reveal() },
      // What is sealed proves itself when it is opened; stores that are not Amazon's do not know these checksums.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
    });
    return { sdk, client };
  }
  async function calling<T>(attempt: (opened: Opened) => Promise<T>): Promise<T> {
    try {
      return await attempt(await (opened ??= open()));
    } catch (error) {
      throw refusal(error);
    }
  }
  /** Null where there is nothing of that key. */
  const found = <T>(attempt: (opened: Opened) => Promise<T>) =>
    calling(async (opened) => {
      try {
        return await attempt(opened);
      } catch (error) {
        if (statusOf(error) === 404 && nameOf(error) !== "NoSuchBucket") return null;
        throw error;
      }
    });

  const Bucket = settings.bucket;
  const head = (Key: string) =>
    found(async ({ sdk, client }) => {
      const info = await client.send(new sdk.HeadObjectCommand({ Bucket, Key }));
      return { key: Key, size: info.ContentLength ?? 0, uploaded: info.LastModified?.getTime() ?? 0 };
    });

  async function nothingOf(Key: string) {
    const info = await head(Key);
    return info && emptyOf(info);
  }

  return {
    kind: "s3",
    async put(Key, body, { onlyIfAbsent = false, size } = {}) {
      // Not all stores know the condition: the look before catches what has been there for long, the condition what comes between.
      if (onlyIfAbsent && (await head(Key))) return { stored: false };
      return calling(async ({ sdk, client }) => {
        const put = { Bucket, Key, Body: body, ContentLength: body instanceof Uint8Array ? body.byteLength : size };
        try {
          await client.send(new sdk.PutObjectCommand({ ...put, ...(onlyIfAbsent && { IfNoneMatch: "*" }) }));
        } catch (error) {
          if (onlyIfAbsent && statusOf(error) === 412) return { stored: false };
          if (!(onlyIfAbsent && statusOf(error) === 501 && body instanceof Uint8Array)) throw error;
          await client.send(new sdk.PutObjectCommand(put));
        }
        return { stored: true };
      });
    },
    async get(Key, range) {
      if (range && range.length <= 0) return nothingOf(Key);
      const answer = await found(async ({ sdk, client }) => {
        try {
          return await client.send(new sdk.GetObjectCommand({ Bucket, Key, ...(range && { Range: rangeOf(range) }) }));
        } catch (error) {
          if (range && statusOf(error) === 416) return "past" as const;
          throw error;
        }
      });
      if (answer === "past") return nothingOf(Key);
      const { Body } = answer ?? {};
      if (!answer || !Body) return null;
      const total = Number(/\/(\d+)$/.exec(answer.ContentRange ?? "")?.[1] ?? answer.ContentLength ?? 0);
      const body = Body.transformToWebStream() as ReadableStream<Uint8Array>;
      return { key: Key, size: total, uploaded: answer.LastModified?.getTime() ?? 0, body, bytes: () => calling(async () => new Uint8Array(await new Response(body).arrayBuffer())) };
    },
    head,
    /** By `Marker`, the first version of the listing: it needs no token of the store's own, and every store has it. */
    async list(Prefix, { cursor, limit = MAX_KEYS } = {}) {
      const page = await calling(({ sdk, client }) => client.send(new sdk.ListObjectsCommand({ Bucket, Prefix, MaxKeys: Math.min(limit, MAX_KEYS), ...(cursor !== undefined && { Marker: cursor }) })));
      const items = (page.Contents ?? []).map(({ Key = "", Size = 0, LastModified }) => ({ key: Key, size: Size, uploaded: LastModified?.getTime() ?? 0 }));
      return { items, cursor: page.IsTruncated ? (items.at(-1)?.key ?? null) : null };
    },
    async delete(keys) {
      for (let at = 0; at < keys.length; at += MAX_KEYS) {
        const some = keys.slice(at, at + MAX_KEYS);
        await calling(async ({ sdk, client }) => {
          try {
            const { Errors = [] } = await client.send(new sdk.DeleteObjectsCommand({ Bucket, Delete: { Quiet: true, Objects: some.map((Key) => ({ Key })) } }));
            const [bad] = Errors.filter(({ Code }) => Code !== "NoSuchKey");
            if (bad) throw new Error(`${bad.Code ?? "error"} for ${bad.Key ?? "a key"}`);
          } catch (error) {
            if (statusOf(error) !== 501 && statusOf(error) !== 405) throw error;
            for (let i = 0; i < some.length; i += AT_ONCE) await Promise.all(some.slice(i, i + AT_ONCE).map((Key) => client.send(new sdk.DeleteObjectCommand({ Bucket, Key }))));
          }
        });
      }
    },
  };
}
