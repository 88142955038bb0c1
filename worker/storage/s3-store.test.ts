import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Secret } from "../../sdk/protocol/index.ts";
import { objectStoreSuite } from "../../test/conformance/object-store.ts";
import { startS3 } from "../../test/support/s3.ts";
import { s3Store, type S3Settings } from "./s3-store.ts";

let dir: string;
let server: Awaited<ReturnType<typeof startS3>>;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "marionette-s3-"));
  server = await startS3(dir);
});
afterAll(async () => {
  await server.close();
  await rm(dir, { recursive: true, force: true });
});

const settings = (change: Partial<S3Settings> = {}): S3Settings => ({ ...server.settings, secretAccessKey: new Secret(server.settings.secretAccessKey), ...change });

describe("the object store over S3", () => {
  objectStoreSuite(() => s3Store(settings()), "on Node the client wants Node's own streams; the worker in workerd is tested whole");

  it("says that the store is away, or set up wrongly, and never shows the secret", async () => {
    const away = s3Store(settings({ endpoint: "http://127.0.0.1:1" }));
    await expect(away.head("x")).rejects.toMatchObject({ code: "unavailable", message: "The object store cannot be reached" });
    const elsewhere = s3Store(settings({ bucket: "no-such-bucket" }));
    const failure: unknown = await elsewhere.get("x").catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "unavailable", hint: expect.stringContaining("MARIONETTE_S3_ENDPOINT") });
    expect(JSON.stringify(failure)).not.toContain(server.settings.secretAccessKey);
  });
});
