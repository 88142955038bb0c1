/** Owns the tests of `mctl schedules`: what they ask, what they print, and the words for the next run. */

import { describe, expect, it } from "vitest";
import { FakeIo } from "../../../test/support/fake-io.ts";
import { newChildId, newId, scheduleCreate, schedulePatch, type Schedule } from "../../protocol/index.ts";
import { lengthText, whenText } from "../output/schedule-views.ts";

const T0 = Date.parse("2026-11-21T10:03:00.000Z");
const session = newId("session", T0);
const made: Schedule = {
  id: newChildId("schedule", session, T0), tenant_id: newId("tenant", T0), session_id: session, name: "triage", agent: "example", model: null, labels: { team: "web" }, provider: null, workspace_id: newId("workspace", T0),
  prompt: "Triage the new issues", timeout_seconds: 3_600, max_retries: 0, cron: "0 9 * * MON-FRI", timezone: "Europe/Berlin", continue: false, pause_on_failure: false, disable_on_failure: 5, status: "active", status_reason: null,
  next_run_at: "2026-11-23T08:00:00.000Z", last_run: { task_id: newChildId("task", session, T0), status: "completed", due_at: "2026-11-20T08:00:00.000Z", at: "2026-11-20T08:00:00.000Z" }, consecutive_failures: 0,
  created_at: "2026-11-19T10:00:00.000Z", updated_at: "2026-11-19T10:00:00.000Z", version: 1,
};

/** mctl against a server that answers every call with the schedule. */
async function run(...argv: string[]) {
  const asked: { method: string; path: string; query: string; body: unknown }[] = [];
  const fetched = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init);
    const { pathname, search } = new URL(request.url);
    const text = await request.text();
    asked.push({ method: request.method, path: pathname.replace("/api/v1", ""), query: search, body: text === "" ? null : JSON.parse(text) });
    const list = request.method === "GET" && !pathname.includes("schd_");
    return Response.json(list ? { items: pathname.endsWith("/tasks") ? [] : [made], total: 1, limit: 50, offset: 0, next_cursor: null } : made);
  };
  const io = Object.assign(new FakeIo({ env: { MARIONETTE_API_URL: "http://127.0.0.1:1", MARIONETTE_API_KEY: "mk_test" } }), { fetch: fetched });
  const code = await io.run(...argv);
  return { code, out: io.out, err: io.err, asked, last: asked.at(-1) };
}

describe("mctl schedules", () => {
  it("creates one with its session's options, in the zone that is given or the machine's", async () => {
    const { code, last, out } = await run(
      "schedules", "create", "--cron", "0 9 * * MON-FRI", "-z", "Europe/Berlin", "--agent", "claude", "--agent-config", "team", "--label", "team=web", "--conversation", "continue", "--pause-on-failure", "yes",
      "--disable-on-failure", "never", "--timeout", "2h", "--retries", "1", "Triage", "them",
    );
    expect(code).toBe(0);
    expect(last).toMatchObject({ method: "POST", path: "/schedules", body: { cron: "0 9 * * MON-FRI", timezone: "Europe/Berlin", agent: "claude", agent_config: "team", labels: { team: "web" }, continue: true, pause_on_failure: true, disable_on_failure: null, prompt: "Triage them", timeout_seconds: 7_200, max_retries: 1 } });
    expect(scheduleCreate.safeParse(last?.body).success).toBe(true);
    expect(out).toMatch(/next run:\s+in 45 h 57 min, Mon 09:00 Europe\/Berlin/);
    const own = (await run("schedules", "create", "--cron", "@daily", "--agent", "example", "go")).last?.body as { timezone: string };
    expect(own.timezone).toBe(Intl.DateTimeFormat().resolvedOptions().timeZone);
    expect((await run("schedules", "create", "--cron", "@daily", "--agent", "example", "--disable-on-failure", "0", "go")).err).toContain("--disable-on-failure wants");
    expect((await run("schedules", "create", "--agent", "example", "go")).err).toContain("--cron is missing");
  });

  it("lists, shows, changes, pauses, resumes, runs and deletes", async () => {
    const listed = await run("schedules", "list", "--status", "active", "--label", "team=web");
    expect(listed.last?.query).toContain("status=active");
    for (const text of [made.id, "triage", "0 9 * * MON-FRI", "in 45 h 57 min, Mon 09:00 Europe/Berlin", "completed, 26h ago"]) expect(listed.out).toContain(text);
    expect((await run("schedules", "get", made.id, "-o", "json")).out).toBe(`${JSON.stringify(made, null, 2)}\n`);
    expect((await run("schedules", "runs", made.id)).last?.query).toContain(`labels=${encodeURIComponent(`schedule:${made.id}`)}`);
    const { last } = await run("schedules", "update", made.id, "--cron", "@hourly", "--name", "");
    expect(last).toMatchObject({ method: "PATCH", body: { cron: "@hourly", name: null } });
    expect(schedulePatch.safeParse(last?.body).success).toBe(true);
    expect((await run("schedules", "update", made.id)).err).toContain("Nothing to change");
    expect((await run("schedules", "pause", made.id)).last?.path).toBe(`/schedules/${made.id}/pause`);
    expect((await run("schedules", "resume", made.id)).err).toContain("next run in 45 h 57 min");
    expect((await run("schedules", "trigger", made.id, "-q")).last?.path).toBe(`/schedules/${made.id}/trigger`);
    expect((await run("schedules", "delete", made.id, "--keep-session")).last).toMatchObject({ method: "DELETE", query: "?keep_session=true" });
    expect((await run("schedules", "delete", made.id)).err).toContain("is terminated");
  });
});

describe("the words for the next run", () => {
  it("name how long it is and the time in its zone, with the date where the weekday alone would mislead", () => {
    expect(whenText("2026-11-21T13:15:00.000Z", "Europe/Berlin", T0)).toBe("in 3 h 12 min, Sat 14:15 Europe/Berlin");
    expect(whenText("2026-11-21T10:03:20.000Z", "UTC", T0)).toBe("in 20 s, Sat 10:03 UTC");
    expect(whenText("2026-12-01T00:00:00.000Z", "America/New_York", T0)).toBe("in 9 d 13 h, Mon 30 Nov 19:00 America/New_York");
    expect(whenText("2028-02-29T00:00:00.000Z", "UTC", T0)).toContain("29 Feb 2028 00:00 UTC");
    expect(whenText("2026-11-21T10:00:00.000Z", "UTC", T0)).toMatch(/^now, /);
    expect(whenText("2026-11-21T10:04:00.000Z", "Mars/Base", T0)).toBe("in 1 min, Sat 10:04 UTC");
    expect(whenText(null, "UTC", T0)).toBeNull();
    expect([0, 59_000, 61_000, 600_000, 3_600_000, 90_000_000, 172_800_000].map(lengthText)).toEqual(["0 s", "59 s", "1 min 1 s", "10 min", "1 h", "25 h", "2 d"]);
  });
});
