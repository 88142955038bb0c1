/** Owns the tests of `mctl runners pause`, `resume` and `drain`: what they ask and what they say. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeApi } from "../../../test/support/fake-api.ts";
import { FakeIo } from "../../../test/support/fake-io.ts";

let api: FakeApi;
beforeEach(async () => {
  api = await new FakeApi().start();
});
afterEach(() => api.close());

describe("mctl runners", () => {
  it.each([["pause", "is being paused; its session is suspended."], ["resume", "goes on."], ["drain", "takes no new task."]])("%s asks for that runner and says what follows", async (verb, words) => {
    const io = new FakeIo({ env: { MARIONETTE_API_URL: api.url, MARIONETTE_API_KEY: api.apiKey } });
    expect(await io.run("runners", verb, "run_1")).toBe(0);
    expect([io.out, io.err]).toEqual(["", `run_1 ${words}\n`]);
    expect(await io.run("runners", verb, "run_1", "-o", "json")).toBe(0);
    expect(JSON.parse(io.out)).toMatchObject({ id: "run_1" });
    expect(api.seen("POST", `/runners/run_1/${verb}`).length).toBe(2);
  });
});
