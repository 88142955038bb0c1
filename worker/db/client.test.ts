import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { sql } from "drizzle-orm";
import { afterEach, expect, it } from "vitest";
import { databaseFailure, openDatabase } from "./client.ts";

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

/** What a statement fails with at an endpoint that answers like this. */
async function faultOf(answer: RequestListener): Promise<unknown> {
  const server = createServer(answer);
  ends.push(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const database = openDatabase("postgresql://user:word@localhost/db", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return database.execute(sql`select 1`).then(() => null, (error: unknown) => error);
}

it("says unavailable wherever the connection breaks: before the answer, within it, or in place of it", async () => {
  const breaks: RequestListener[] = [
    (request) => void request.socket.destroy(),
    (_, answer) => {
      answer.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
      answer.write('{"fields":[],', () => void answer.destroy());
    },
    (_, answer) => {
      answer.writeHead(400, { "content-type": "application/json", "content-length": "1000" });
      answer.write('{"message":', () => void answer.destroy());
    },
    (_, answer) => void answer.writeHead(503).end("not now"),
  ];
  for (const each of breaks) expect(databaseFailure(await faultOf(each))).toMatchObject({ code: "unavailable", details: { retry_after_seconds: 5 } });
});

it("leaves what Postgres itself refused to whoever asked", async () => {
  const fault = await faultOf((_, answer) => void answer.writeHead(400, { "content-type": "application/json" }).end(JSON.stringify({ message: "no such column", code: "42703" })));
  expect(fault).not.toBeNull();
  expect(databaseFailure(fault)).toBeNull();
});
