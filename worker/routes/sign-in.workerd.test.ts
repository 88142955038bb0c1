/** Owns the tests of the dashboard's cookie: what it is exchanged for, what it opens, and from where it opens nothing. */

import { beforeEach, describe, expect, it, vi } from "vitest";
import { newToken } from "../../sdk/protocol/index.ts";
import { doors, type Doors } from "../testing/doors.ts";

let d: Doors;
beforeEach(async () => {
  d = await doors();
});
const signIn = (api_key: unknown) => d.raw("/auth/sign-in", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ api_key }) });
async function cookieOf(key = d.one.token): Promise<string> {
  const response = await signIn(key);
  expect(response.status).toBe(200);
  return (response.headers.get("set-cookie") ?? "").split(";")[0] ?? "";
}
const OWN = { origin: "http://worker", "x-marionette-page": "1" };

describe("signing in", () => {
  it("gives a sealed cookie that scripts cannot read and other sites do not send", async () => {
    const response = await signIn(` ${d.one.token}\n`);
    expect(await response.json()).toMatchObject({ tenant_id: d.one.id, key: { id: d.one.keyId, name: "one" } });
    const cookie = response.headers.get("set-cookie") ?? "";
    expect(cookie).toMatch(/^marionette=/);
    for (const word of ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=2592000"]) expect(cookie).toContain(word);
    expect(cookie).not.toContain(d.one.token);
    expect((await d.raw("/auth/sign-in", { method: "POST", headers: { "content-type": "application/json", host: "worker" }, body: "{}" })).status).toBe(400);
  });

  it("refuses what is no key, or none of ours, expired or revoked", async () => {
    for (const key of ["", "hello", newToken("run"), newToken("api_key")]) expect((await signIn(key)).status, `${key}`).toBe(401);
    expect((await signIn("m".repeat(500))).status).toBe(400);
    const { token } = await d.one.key(["read"], new Date(Date.now() - 1));
    expect((await signIn(token)).status).toBe(401);
  });

  it("is over when someone signs out", async () => {
    const response = await d.raw("/auth/sign-out", { method: "POST", headers: { cookie: await cookieOf(), ...OWN } });
    expect(response.headers.get("set-cookie")).toMatch(/^marionette=;.*Max-Age=0/);
    expect((await d.raw("/auth/me")).status).toBe(401);
  });
});

describe("the cookie", () => {
  it("opens what the key opens, from our own page", async () => {
    const cookie = await cookieOf();
    expect(await (await d.raw("/auth/me", { headers: { cookie } })).json()).toMatchObject({ tenant_id: d.one.id });
    expect((await d.raw("/api/v1/sessions", { headers: { cookie } })).status).toBe(200);
    const made = await d.raw("/api/v1/sessions", { method: "POST", headers: { cookie, ...OWN, "content-type": "application/json" }, body: '{"agent":"a"}' });
    expect(made.status).toBe(201);
    const other = await cookieOf(d.two.token);
    expect((await d.raw(`/api/v1/sessions/${(await made.json<{ id: string }>()).id}`, { headers: { cookie: other } })).status).toBe(404);
  });

  it("changes nothing for another site: another origin, none that is said, or no word of the page", async () => {
    const cookie = await cookieOf();
    const post = async (headers: Record<string, string>) => (await d.raw("/api/v1/sessions", { method: "POST", headers: { cookie, "content-type": "application/json", ...headers }, body: '{"agent":"a"}' })).status;
    for (const origin of ["http://evil.example", "null", "http://worker.evil.example", "http://worker:81", "nonsense"]) expect(await post({ ...OWN, origin }), `${origin}`).toBe(403);
    expect(await post({ origin: "http://worker" })).toBe(403);
    for (const origin of [undefined, "http://evil.example"]) {
      expect((await d.raw("/api/v1/events", { headers: { cookie, upgrade: "websocket", ...(origin && { origin }) } })).status, `${origin}`).toBe(403);
    }
    expect((await d.raw("/api/v1/sessions", { headers: { cookie, origin: "http://evil.example" } })).status).toBe(403);
  });

  it("is worth nothing when it was changed, made elsewhere, or is older than 30 days", async () => {
    const cookie = await cookieOf();
    for (const bad of [`${cookie}x`, cookie.slice(0, -2), "marionette=", "marionette=AAAA", cookie.replace("=", "=A")]) expect((await d.raw("/auth/me", { headers: { cookie: bad } })).status, `${bad.slice(0, 30)}`).toBe(401);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 30 * 86_400_000 + 1 });
    try {
      expect((await d.raw("/auth/me", { headers: { cookie } })).status).toBe(401);
    } finally {
      vi.useRealTimers();
    }
  });

  it("ends with its key", async () => {
    const cookie = await cookieOf((await d.one.key(["read"], new Date(Date.now() + 60_000))).token);
    expect((await d.raw("/api/v1/keys", { headers: { cookie } })).status).toBe(403);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 120_000 });
    try {
      expect((await d.raw("/api/v1/sessions", { headers: { cookie } })).status).toBe(401);
    } finally {
      vi.useRealTimers();
    }
  });
});
