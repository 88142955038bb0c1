import { env } from "cloudflare:workers";
import { describe } from "vitest";
import { objectStoreSuite } from "../../test/conformance/object-store.ts";
import { r2Store } from "./r2-store.ts";

describe("the object store over R2", () => {
  objectStoreSuite(() => r2Store((env as unknown as { BUCKET: R2Bucket }).BUCKET));
});
