/** Owns the tests of `--image`: what is sent, in which order, and what is refused before anything is made. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeApi } from "../../../test/support/fake-api.ts";
import { FakeIo } from "../../../test/support/fake-io.ts";
import { noisePng } from "../../../test/support/images.ts";
import { MAX_ATTACHMENT_BYTES } from "../../protocol/attachment.ts";

let api: FakeApi;
beforeEach(async () => {
  api = await new FakeApi().start();
  api.script = (task, server) => server.end(task, "completed");
});
afterEach(() => api.close());
function ioWith(files: Record<string, Uint8Array>): FakeIo {
  const io = new FakeIo({ env: { MARIONETTE_API_URL: api.url, MARIONETTE_API_KEY: api.apiKey } });
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(io.cwd, name), bytes);
  return io;
}
const png = noisePng(8);

describe("--image", () => {
  it("gives the session the images and the task their ids, in their order", async () => {
    const io = ioWith({ "one.png": png, "two.png": noisePng(8) });
    expect(await io.run("run", "look", "--image", "one.png", "--image", "two.png")).toBe(0);
    const sent = api.seen("POST", "/attachments");
    expect(sent.map(({ query, headers }) => [query.get("name"), headers["content-type"]])).toEqual([["one.png", "image/png"], ["two.png", "image/png"]]);
    expect(sent[0]?.body).toEqual(new Uint8Array(png));
    const id: unknown = expect.stringMatching(/^att_/);
    const given = () => api.seen("POST", "/tasks").map(({ body }) => (body as { attachments?: string[] }).attachments);
    expect(given()).toEqual([[id, id]]);
    const [session] = api.sessions.keys();
    expect(await io.run("tasks", "create", "--session", session ?? "", "again", "--image", "two.png")).toBe(0);
    expect(given()).toEqual([[id, id], [id]]);
  });

  it.each([
    [["none.png"], "Cannot read none.png"],
    [["a.txt"], "a.txt is no PNG, JPEG, GIF or WebP image"],
    [["large.png"], "large.png has 8.0 MiB"],
    [Array.from({ length: 11 }, () => "one.png"), "10 images go with one prompt, not 11"],
    [["seven.png", "seven.png", "seven.png"], "The images have 21.0 MiB together"],
  ])("refuses %j before a session is made", async (paths, message) => {
    const large = new Uint8Array(MAX_ATTACHMENT_BYTES + 1);
    large.set(png);
    const seven = new Uint8Array(7 * 1024 * 1024);
    seven.set(png);
    const io = ioWith({ "one.png": png, "a.txt": new TextEncoder().encode("no image"), "large.png": large, "seven.png": seven });
    expect(await io.run("run", "look", ...paths.flatMap((path) => ["--image", path]))).toBe(1);
    expect(io.err).toContain(message);
    expect(api.seen("POST", "")).toEqual([]);
  });
});
