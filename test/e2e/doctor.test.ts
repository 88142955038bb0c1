import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";
import { check } from "../../sdk/protocol/index.ts";
import { FakeIo } from "../support/fake-io.ts";
import { startStack, type Stack } from "../support/stack.ts";

const found = z.object({ ok: z.boolean(), checks: z.array(check) });

describe("mctl doctor", () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ hosts: [{}] });
  });
  afterAll(() => stack.close());

  async function doctor(more: string[] = [], env: Record<string, string> = {}) {
    const io = new FakeIo({ env: { MARIONETTE_API_URL: stack.url, MARIONETTE_API_KEY: stack.apiKey, ...env } });
    io.now = Date.now;
    const code = await io.run("doctor", "-o", "json", ...more);
    const { ok, checks } = found.parse(JSON.parse(io.out));
    return { code, ok, checks, of: (name: string) => checks.find((each) => each.name === name) };
  }

  it("finds a deployment well, and tells what it looked at", async () => {
    const { code, ok, checks, of } = await doctor();
    expect(checks.filter(({ status }) => status === "failed")).toEqual([]);
    expect([code, ok]).toEqual([0, true]);
    for (const name of ["server", "versions", "clock", "objects", "database", "object store", "encryption key", "data key", "API key", "hosts"]) expect(of(name)).toMatchObject({ status: "ok" });
    expect(checks.some(({ name, detail }) => name.startsWith("host ") && detail.startsWith("online"))).toBe(true);
  });

  it("makes chaos that does no harm, and everything survives it", async () => {
    const { code, checks } = await doctor(["--chaos"]);
    const tried = checks.filter(({ name }) => name.startsWith("chaos: "));
    expect(tried.map(({ name, status, detail }) => ({ name, status, detail: status === "ok" ? "" : detail }))).toEqual(tried.map(({ name }) => ({ name, status: "ok", detail: "" })));
    expect([tried.length, code]).toEqual([5, 0]);
    const left = await stack.api.request("GET", "/sessions?labels=mctl-doctor:chaos");
    expect((left.body as { items: { status: string }[] }).items.map(({ status }) => status)).toEqual(["terminated"]);
  });

  it("names what is wrong and what to do: the database, the hosts, the server", async () => {
    // The key is believed for a few seconds after it was last asked for.
    expect((await doctor()).code).toBe(0);
    stack.postgres.setAvailable(false);
    try {
      const { code, of } = await doctor();
      expect(code).toBe(1);
      expect(of("database")).toMatchObject({ status: "failed", hint: expect.stringContaining("MARIONETTE_DATABASE_URL") as unknown });
      expect(of("objects")).toMatchObject({ status: "ok" });
    } finally {
      stack.postgres.setAvailable(true);
    }
    const nobody = await stack.tenant("without hosts");
    expect((await doctor([], { MARIONETTE_API_KEY: nobody.apiKey })).of("hosts")).toMatchObject({ status: "failed", detail: "none has ever joined" });
    const nowhere = await doctor([], { MARIONETTE_API_URL: "http://127.0.0.1:9" });
    expect([nowhere.code, nowhere.of("server")?.status]).toEqual([1, "failed"]);
  });
});
