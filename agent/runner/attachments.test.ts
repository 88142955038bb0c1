import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { newId, newToken, type Attachment } from "../../sdk/protocol/index.ts";
import { Breath } from "../../sdk/workspace/flow.ts";
import { scanTree } from "../../sdk/workspace/scan.ts";
import { fetchAttachments } from "./attachments.ts";

const root = mkdtempSync(join(tmpdir(), "runner-attachments-"));
const BYTES = Buffer.from("an image, as far as anyone here can tell");
const run_token = newToken("run");
const session_id = newId("session", 0);
const image: Attachment = { id: newId("attachment", 0), name: "shot.png", media_type: "image/png", size: BYTES.length };
const asked: string[] = [];
let server: Server;
let workspace = "";
beforeAll(async () => {
  server = createServer((request, response) => {
    asked.push(`${request.url} ${request.headers.authorization}`);
    if (request.url === `/links/attachments/${session_id}/${image.id}`) response.end(BYTES);
    else response.writeHead(404, { "content-type": "application/json" }).end(JSON.stringify({ error: { code: "not_found", message: "This image is not kept any more" } }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
});
beforeEach(() => {
  workspace = mkdtempSync(join(root, "workspace-"));
});
afterAll(() => {
  server.close();
  rmSync(root, { recursive: true, force: true });
});

const fetched = (images: Attachment[], signal = new AbortController().signal) => fetchAttachments({ server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, run_token, session_id, workspace }, images, signal);

describe("a task's images", () => {
  it("are fetched with the run token, again for each attempt, and lie where the agent reads them", async () => {
    for (let attempt = 0; attempt < 2; attempt++) {
      const [file] = await fetched([image]);
      expect(file).toEqual({ path: join(workspace, ".marionette/attachments", `${image.id}-shot.png`), shown: `.marionette/attachments/${image.id}-shot.png`, name: "shot.png", media_type: "image/png", size: BYTES.length });
      expect(readFileSync(file?.path ?? "")).toEqual(BYTES);
    }
    expect(asked.at(-1)).toBe(`/links/attachments/${session_id}/${image.id} Bearer ${run_token}`);
    expect(readdirSync(join(workspace, ".marionette/attachments")).sort()).toEqual([".gitignore", ".marionetteignore", `${image.id}-shot.png`]);
  });

  it("are not kept with the workspace", async () => {
    await fetched([image]);
    const { found } = await scanTree({ root: workspace, include: null, ignore: true, outsideLinks: "leave_out", maxEntries: 100, breath: new Breath() });
    expect(found.filter(({ type }) => type === "file")).toEqual([]);
  });

  it("end the task with words where one is gone or is of another size", async () => {
    const gone = { ...image, id: newId("attachment", 1), name: "gone.png" };
    await expect(fetched([image, gone])).rejects.toMatchObject({ run: { code: "attachment_missing", message: expect.stringContaining("'gone.png'") as unknown, hint: expect.stringContaining("Send the image") as unknown } });
    await expect(fetched([{ ...image, size: BYTES.length + 1 }])).rejects.toMatchObject({ run: { code: "attachment_missing" } });
  });

  it("are written through no link that an agent has laid", async () => {
    const outside = mkdtempSync(join(root, "outside-"));
    symlinkSync(outside, join(workspace, ".marionette"));
    await expect(fetched([image])).rejects.toMatchObject({ run: { message: expect.stringContaining("is not a directory") as unknown } });
    rmSync(join(workspace, ".marionette"));
    mkdirSync(join(workspace, ".marionette/attachments"), { recursive: true });
    for (const name of [`${image.id}-shot.png`, `${image.id}-shot.png.next`, ".gitignore"]) symlinkSync(join(outside, "target"), join(workspace, ".marionette/attachments", name));
    await fetched([image]);
    expect(readdirSync(outside)).toEqual([]);
  });
});
