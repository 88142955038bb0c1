/** Owns the tests of what `mctl workspaces push` and `pull` leave behind where they do not come to their end. */

import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeIo } from "../../../test/support/fake-io.ts";
import { newId } from "../../protocol/index.ts";

const id = newId("workspace", 1);
const manifest_id = newId("manifest", 1);
let server: Server;
/** What the doors of trees do with a request. */
let door: (answer: (status: number, body: unknown) => void) => void;
beforeEach(async () => {
  server = createServer((request, response) => {
    const answer = (status: number, body: unknown) => void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (request.url === `/api/v1/workspaces/${id}`) answer(200, { id, manifest_id, quota_mb: null });
    else door(answer);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});
function io(): FakeIo {
  const made = new FakeIo({ env: { MARIONETTE_API_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, MARIONETTE_API_KEY: "mk_test" } });
  mkdirSync(join(made.cwd, "tree"));
  writeFileSync(join(made.cwd, "tree/a.txt"), "a");
  return made;
}

describe("a copy", () => {
  it("that Ctrl-C ends exits with 130 and leaves no directory that was not there", async () => {
    for (const [command, ...args] of [["push", "tree"], ["pull", "copy"], ["pull", "tree", "--force"]] as const) {
      const at = io();
      door = () => at.interrupt();
      expect(await at.run("workspaces", command, id, ...args)).toBe(130);
      expect(at.err).toContain("Called off; nothing was changed");
      expect([existsSync(join(at.cwd, "copy")), existsSync(join(at.cwd, "tree/a.txt"))]).toEqual([false, true]);
    }
  });

  it("that is refused leaves no directory that was not there", async () => {
    const at = io();
    door = (answer) => answer(404, { error: { code: "not_found", message: "No manifest of that id in this workspace", request_id: "req_1" } });
    expect(await at.run("workspaces", "pull", id, "copy")).toBe(1);
    expect(at.err).toContain("No manifest of that id");
    expect(existsSync(join(at.cwd, "copy"))).toBe(false);
  });

  it("goes into a directory that is empty or new, and is refused in words elsewhere", async () => {
    const at = io();
    door = () => expect.unreachable();
    expect(await at.run("workspaces", "pull", id, "tree")).toBe(1);
    expect(at.err).toMatch(/tree is there and not empty\n +hint: --force/);
    for (const more of [[], ["--force"]]) {
      const file = io();
      expect(await file.run("workspaces", "pull", id, "tree/a.txt", ...more)).toBe(1);
      expect(file.err).toContain("a.txt is not a directory");
    }
  });
});
