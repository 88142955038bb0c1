/** Owns the routes of a session's history: what is known of its chain of blocks, and the blocks themselves as one text. */

import { createRoute } from "@hono/zod-openapi";
import * as z from "zod";
import { sessionStub } from "../../durable-objects/index.ts";
import { Failure, sessionHistory, type HistoryHead } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { answers, failures, keyed, named } from "../openapi.ts";
import { idParam } from "./schemas.ts";

const tags = ["sessions"];
const History = named("SessionHistory", sessionHistory);
const read = createRoute({
  method: "get", path: "/sessions/{id}/history", tags, ...keyed("read"), summary: "What proves a session's history",
  description: "The heads of its chain of blocks, as the session's object and the database remember them: whoever can write the object store can change neither.",
  request: idParam("session"), responses: { 200: answers(History, "The heads"), ...failures("not_found") },
});
const text = createRoute({
  method: "get", path: "/sessions/{id}/export", tags, ...keyed("read"), summary: "A session's whole history",
  description: "JSON lines in blocks: a header line with `block`, `from`, `count` and the SHA-256 of the block before (`previous`), then an event a line. `first` goes on from a block. A failure on the way is a last line `{\"error\": …}`.",
  request: { params: idParam("session").params, query: z.strictObject({ first: z.coerce.number().int().min(1).max(1_000_000_000).optional() }) },
  responses: { 101: { description: "Never" }, 200: { content: { "application/jsonl": { schema: z.string() } }, description: "The blocks, first to last" }, ...failures("not_found", "conflict") },
});

/** The head in the database's copy; null where there is none, or no answer. */
async function recorded(c: Ctx, sessionId: string): Promise<HistoryHead | null> {
  const archive = await c.get("records").lists.session(actorOf(c).tenant_id, sessionId).then((row) => row?.archive, () => undefined);
  return archive ? { events: archive.events, blocks: archive.blocks, head: archive.head } : null;
}

export function historyRoutes(app: App): void {
  app.openapi(read, async (c) => {
    const { id } = c.req.valid("param");
    const [known, copy] = await Promise.all([call(() => sessionStub(c.env, id).readHistory(actorOf(c))), recorded(c, id)]);
    return c.json({ ...known, recorded: copy }, 200);
  });

  app.openapi(text, async (c) => {
    const { id } = c.req.valid("param");
    const actor = actorOf(c);
    const block = (n: number) => call(() => sessionStub(c.env, id).readBlock(actor, n));
    let next = c.req.valid("query").first ?? 1;
    // Asked for before the answer begins, so that what cannot even begin is an error like any other.
    let found = await block(next);
    const headers = { "content-type": "application/jsonl", "content-disposition": `attachment; filename="${id}.events.jsonl"` };
    if (c.req.raw.method === "HEAD") return c.body(null, 200, headers);
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          try {
            found ??= await block(next);
          } catch (error) {
            const failure = error instanceof Failure ? error : new Failure("internal_error", "The history cannot be read on");
            controller.enqueue(new TextEncoder().encode(`${JSON.stringify({ error: failure.toBody(c.get("request_id")) })}\n`));
            return controller.close();
          }
          if (!found) return controller.close();
          controller.enqueue(found.text);
          if (found.last) return controller.close();
          found = null;
          next++;
        },
      },
      { highWaterMark: 0 },
    );
    return new Response(body, { headers });
  });
}
