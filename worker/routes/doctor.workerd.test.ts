/** Owns the tests of what the doctor says of hosts. */

import { beforeEach, describe, expect, it } from "vitest";
import { newId, RELEASE, type Diagnosis, type Host } from "../../sdk/protocol/index.ts";
import { doors, type Doors } from "../testing/doors.ts";

let d: Doors;
beforeEach(async () => {
  d = await doors();
});

const process = { name: "process", sandbox: "process", available: true, detail: "bubblewrap", capabilities: { isolation: "none", pause: true, snapshot: false, limits: false, network_policy: false } } as const;

/** All checks that name the host, of a host like this. */
async function checksOf(name: string, more: Partial<Host>): Promise<{ name: string; status: string; detail: string; hint?: string | undefined }[]> {
  const at = new Date().toISOString();
  const value: Host = {
    id: newId("host", Date.now()), tenant_id: d.one.id, status: "online", name, version: 1, daemon_version: RELEASE, os: "linux", arch: "x64", cpus: 2, memory_mb: 1_024, labels: {}, pool: "default", max_runners: 4, default_provider: "process", providers: [process],
    agents: [{ name: "example", available: true, detail: "bundled" }], runners: 1, clock_skew_ms: 12, created_at: at, last_seen_at: at, ...more,
  };
  await d.records.projection.apply([{ resource: "host", value }]);
  const { checks } = await d.json<Diagnosis>("GET", "/doctor");
  return checks.filter((check) => check.name.startsWith(`host ${name}`));
}

describe("the doctor", () => {
  it("says of every host what is not well there, and what to do", async () => {
    expect(await checksOf("well", {})).toEqual([{ name: "host well", status: "ok", detail: "online, 1 of 4 runners, process: bubblewrap" }]);
    expect(await checksOf("early", { clock_skew_ms: 90_000 })).toMatchObject([{ status: "ok" }, { name: "host early: clock", status: "warning", detail: "was 90 s ahead when it last connected", hint: expect.stringContaining("NTP") }]);
    expect(await checksOf("late", { clock_skew_ms: -7_200_400 })).toMatchObject([{ status: "ok" }, { name: "host late: clock", status: "warning", detail: expect.stringContaining("7200 s behind") }]);
    expect(await checksOf("away", { status: "offline", clock_skew_ms: 90_000 })).toMatchObject([{ status: "warning", detail: expect.stringMatching(/^offline since .*, with 1 runner$/), hint: expect.stringContaining("capsule") }]);
    expect(await checksOf("empty", { status: "offline", runners: 0 })).toMatchObject([{ status: "warning", detail: expect.not.stringContaining("runner"), hint: expect.not.stringContaining("capsule") }]);
    expect(await checksOf("old", { daemon_version: "0.0.1" })).toMatchObject([{ status: "ok" }, { name: "host old: version", status: "warning", hint: expect.stringContaining("release") }]);
    expect(await checksOf("bare", { providers: [{ ...process, available: false, detail: "bubblewrap is not installed" }], agents: [] })).toMatchObject([{ status: "ok" }, { name: "host bare: process", status: "failed", detail: expect.stringContaining("not installed") }, { name: "host bare: agents", status: "failed" }]);
  });
});
