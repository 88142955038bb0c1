/** Owns the directories of hosts: browsing the roots that a host's configuration opens, and sessions that are to work in one. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { hostStub } from "../../durable-objects/index.ts";
import { Failure, fileEntry, type SessionCreate } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { failures, keyed, pages } from "../openapi.ts";
import { bytesOfPieces, PIECE_BYTES } from "./files.ts";
import { idParam } from "./schemas.ts";

const tags = ["hosts"];
const path = z.string().max(4_096).regex(/^[^\0]*$/, "must not hold NUL");
const root = path.min(1);
const closed = "The roots are the host's `browse_roots`; a host opens none unless its owner's `marionette.yaml` does. Needs the scope `admin`: these are the machine's own files, whoever they belong to, and no session's.";
const list = createRoute({
  method: "get", path: "/hosts/{id}/browse", tags, ...keyed("admin"), summary: "List a directory of a host", description: `Directories first, hidden ones too. ${closed}`,
  request: {
    ...idParam("host"),
    query: z.strictObject({ root, path: path.default(""), limit: z.coerce.number().int().min(1).max(1_000).default(500), offset: z.coerce.number().int().min(0).max(1_000_000).optional(), cursor: z.string().regex(/^\d{1,7}$/, "not a cursor of this list").optional() }),
  },
  responses: { 200: pages(fileEntry, "Directories first, then by name"), ...failures("not_found", "payload_too_large") },
});
const content = createRoute({
  method: "get", path: "/hosts/{id}/browse/content", tags, ...keyed("admin"), summary: "Read a file of a host", description: closed,
  request: { ...idParam("host"), query: z.strictObject({ root, path: path.min(1) }) },
  responses: { 101: { description: "Never" }, 200: { content: { "application/octet-stream": { schema: z.string() } }, description: "The file's bytes" }, ...failures("not_found", "payload_too_large") },
});

const refused = (field: string, why: string, hint?: string) => new Failure("bad_request", `${field}: ${why}`, { details: { [field]: why }, ...(hint !== undefined && { hint }) });

type Placed = Pick<SessionCreate, "directory" | "workspace_id" | "selector" | "workspace_quota_mb" | "pool">;

/**
 * The options of a new session with the pool of the host whose directory it is to work in. An agent there reads and writes what the host's user can: as
 * browsing, it needs `admin`. Throws where the host, the directory or the key will not do; the host looks again when it starts the runner.
 */
export async function withDirectory<T extends Placed>(c: Ctx, input: T): Promise<T> {
  const actor = actorOf(c);
  const { directory, pool } = input;
  if (!directory) {
    if (input.workspace_id !== undefined && (await c.get("records").workspaces.sessions(actor.tenant_id, input.workspace_id, { ended: true, limit: 10 })).some((session) => session.directory)) {
      throw refused("workspace_id", "its session works in a directory of a host: that has no files to begin with");
    }
    return input;
  }
  const caller = c.get("caller");
  if (caller?.kind !== "key" || !caller.scopes.includes("admin")) throw new Failure("forbidden", "directory: this needs a key with the scope 'admin', because the agent works on the machine's own files", { details: { scope: "admin" } });
  for (const field of ["workspace_id", "selector", "workspace_quota_mb"] as const) if (input[field] !== undefined) throw refused(field, "has no meaning beside directory, which names the host and the files");
  const host = await call(() => hostStub(c.env, directory.host_id).read(actor));
  if (pool !== "default" && pool !== host.pool) throw refused("pool", `host ${host.name} is in pool '${host.pool}'`);
  const roots = host.browse_roots ?? [];
  const under = roots.find((each) => directory.path === each || directory.path.startsWith(each.endsWith("/") ? each : `${each}/`));
  if (under === undefined) {
    const opens = roots.length === 0 ? `host ${host.name} opens no directories` : `host ${host.name} opens ${roots.join(", ")}, and ${directory.path} lies in none of them`;
    throw refused("directory", opens, "Its owner names them in marionette.yaml under browse_roots");
  }
  // What is not there, or leads out of the root, is told now where the host can be asked.
  if (host.status !== "offline") await call(() => hostStub(c.env, directory.host_id).browse(actor, under, directory.path.slice(under.length), 0, 1)).catch((error: unknown) => {
    if (error instanceof Failure && error.code !== "unavailable") throw refused("directory", error.message);
  });
  return { ...input, pool: host.pool };
}

export function directoryRoutes(app: App): void {
  app.openapi(list, async (c) => {
    const { root: of, path: wanted, limit, offset, cursor } = c.req.valid("query");
    const from = cursor === undefined ? (offset ?? 0) : Number(cursor);
    const { items, total } = await call(() => hostStub(c.env, c.req.valid("param").id).browse(actorOf(c), of, wanted, from, limit));
    // Entries that went meanwhile are missing in `items`, and counted.
    return c.json({ items, total, limit, offset: from, next_cursor: from + limit < total ? String(from + limit) : null }, 200);
  });
  app.openapi(content, async (c) => {
    const actor = actorOf(c);
    const { root: of, path: wanted } = c.req.valid("query");
    return bytesOfPieces(c, wanted, (offset) => call(() => hostStub(c.env, c.req.valid("param").id).readBrowsed(actor, of, wanted, offset, PIECE_BYTES)));
  });
}
