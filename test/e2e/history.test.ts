import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Event, Marionette, Session } from "../../sdk/index.ts";
import { NO_HASH, type HistoryHeader } from "../../sdk/protocol/index.ts";
import { patientClient, storedLog } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import { FakeIo } from "../support/fake-io.ts";
import { eventsOf, logItem, RawRunner } from "../support/raw-runner.ts";
import { socketReader, sseReader } from "../support/readers.ts";
import { startSpecHost, type SpecHost } from "../support/spec-host.ts";
import { startStack, type Stack } from "../support/stack.ts";

const EVENTS = 25_000;

describe("the history of a session that has ended", () => {
  let stack: Stack;
  let host: SpecHost;
  let client: Marionette;
  beforeAll(async () => {
    stack = await startStack({ vars: { MARIONETTE_ARCHIVE_AFTER_SECONDS: "0" } });
    host = await startSpecHost(stack.url, (await stack.admin.createRunnerToken(stack.tenantId, "spec host")).token);
    client = patientClient(stack);
  });
  afterAll(async () => {
    host.close();
    await stack.close();
  });

  async function told(events: number): Promise<Session> {
    const session = await client.sessions.create({ agent: "raw" });
    const runner = await RawRunner.welcomed(stack.url, await host.spec(session.id));
    for (let sent = 0; sent < events; sent += 500) runner.send(eventsOf(sent + 1, null, Array.from({ length: 500 }, (_, i) => logItem(`语 ${sent + i} \ud800 ${"x".repeat(60)}`))));
    await runner.acknowledged(events);
    runner.drop();
    return session;
  }
  const archived = (id: string) => eventually("its events are in the archive", async () => (await client.sessions.get(id)).archive, 60_000);
  async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
    const io = new FakeIo({ env: { MARIONETTE_API_URL: stack.url, MARIONETTE_API_KEY: stack.apiKey } });
    const code = await io.run(...argv);
    return { code, out: io.out, err: io.err };
  }
  /** Files of the object store, oldest first. */
  function blobs(): string[] {
    const all = readdirSync(join(stack.dir, "state/objects"), { recursive: true, withFileTypes: true });
    return all.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs);
  }

  it("is read back by everyone as it was, and exported as a chain that anybody can check", async () => {
    const { id } = await told(EVENTS);
    const living = await run("sessions", "export", id, "--verify");
    expect(living).toMatchObject({ code: 0 });
    expect(living.out).toContain("Whole and unchanged");
    expect(living.out).toContain("the session goes on");
    const readers = [sseReader({ url: stack.url, apiKey: stack.apiKey, sessionId: id }), socketReader({ url: stack.url, apiKey: stack.apiKey, sessionId: id })];
    await client.sessions.terminate(id);
    await Promise.all(readers.map(({ ended }) => ended));
    const before = readers[0]?.events as Event[];
    expect(before.length).toBeGreaterThan(EVENTS);
    const archive = await archived(id);
    expect(archive).toMatchObject({ events: before.length });

    expect(await storedLog(client, id)).toEqual(before);
    for (const read of [sseReader, socketReader]) {
      const reader = read({ url: stack.url, apiKey: stack.apiKey, sessionId: id });
      await reader.ended;
      expect(reader.events).toEqual(before);
    }
    expect((await client.sessions.events(id, { tail: 7 })[Symbol.asyncIterator]().next()).value).toEqual(before.at(-7));

    await eventually("the database knows the head", async () => (await client.sessions.history.get(id)).recorded?.head === archive.head);
    const verified = await run("sessions", "export", id, "--verify");
    expect(verified).toMatchObject({ code: 0 });
    expect(verified.out).toContain("the session's object and the database");
    const { out } = await run("sessions", "export", id);
    // Checked here by other means than the client's own.
    let previous = NO_HASH;
    const lines: string[] = [];
    for (const block of out.split(/^(?=\{"format":"marionette-log)/m)) {
      const [head = "", ...events] = block.trimEnd().split("\n");
      expect(JSON.parse(head) as HistoryHeader).toMatchObject({ session_id: id, from: lines.length + 1, count: events.length, previous });
      previous = createHash("sha256").update(block).digest("hex");
      lines.push(...events);
    }
    expect(previous).toBe(archive.head);
    expect(lines.map((line) => JSON.parse(line) as Event)).toEqual(before);
    await stack.controlPlane.kill();
    expect(await storedLog(client, id)).toEqual(before);
    const old = host.id;
    host.close();
    await eventually("the old host is seen to be gone", async () => (await client.hosts.get(old)).status === "offline");
    host = await startSpecHost(stack.url, (await stack.admin.createRunnerToken(stack.tenantId, "spec host again")).token);
  });

  it("that was changed in the object store is named by the block that is wrong, and the command fails", async () => {
    const known = new Set(blobs());
    const { id } = await told(EVENTS);
    await client.sessions.terminate(id);
    await archived(id);
    const [, second = ""] = blobs().filter((file) => !known.has(file));
    const whole = readFileSync(second);
    const bytes = Buffer.from(whole);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(second, bytes);
    const broken = await run("sessions", "export", id, "--verify");
    expect(broken.code).toBe(1);
    expect(broken.out).toContain("NOT WHOLE");
    expect(broken.out).toContain("unreadable: Block 2 of the history");
    writeFileSync(second, whole);
    expect(await run("sessions", "export", id, "--verify")).toMatchObject({ code: 0 });
  });

  it("whose end was forged in the database is told so", async () => {
    const { id } = await told(500);
    await client.sessions.terminate(id);
    const { head } = await archived(id);
    await eventually("the database knows the head", async () => (await client.sessions.history.get(id)).recorded?.head === head);
    await stack.postgres.query(`update sessions set data = replace(data::text, '${head}', '${"0".repeat(64)}')::json where id = '${id}'`);
    const forged = await run("sessions", "export", id, "--verify", "-o", "json");
    expect(forged.code).toBe(1);
    expect(JSON.parse(forged.out)).toMatchObject({ whole: false, problems: [{ kind: "changed", block: 1 }] });
  });
});
