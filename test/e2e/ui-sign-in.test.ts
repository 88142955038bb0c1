import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from "vitest";
import { missingBrowser } from "../support/browser.ts";
import { dashboardAt, SIGNED_OUT, violationsOf, type Dashboard } from "../support/dashboard.ts";

/** What the first page may weigh, gzipped, without the terminal. */
const FIRST_LOAD_BYTES = 200 * 1024;

const missing = missingBrowser();
describe.skipIf(missing !== null)(`signing in${missing === null ? "" : ` (${missing})`}`, () => {
  const url = inject("url");
  const apiKey = inject("apiKey");
  let dashboard: Dashboard;
  beforeAll(async () => {
    dashboard = await dashboardAt(url, apiKey);
  });
  afterEach(async () => {
    await dashboard.clear();
    expect(dashboard.faults()).toEqual([]);
  });
  afterAll(() => dashboard?.close());

  it("takes a right key, says what is wrong with another, and signs out", async () => {
    dashboard.allow(SIGNED_OUT);
    const page = await dashboard.open({ baseURL: url });
    await page.goto("/inbox");
    await page.getByLabel("API key").fill("no key at all");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").filter({ hasText: "not an API key" }).waitFor();
    await page.getByLabel("API key").fill(`mk_${"A".repeat(43)}`);
    await page.keyboard.press("Enter");
    await page.getByRole("alert").filter({ hasText: /key/i }).waitFor();
    expect(await violationsOf(page)).toEqual([]);

    await page.getByLabel("API key").fill(apiKey);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Inbox" }).waitFor();
    const [cookie] = await page.context().cookies();
    expect(cookie).toMatchObject({ name: "marionette", httpOnly: true, sameSite: "Strict" });
    expect(decodeURIComponent(cookie?.value ?? "")).not.toContain(apiKey);
    expect(await page.evaluate("document.cookie")).toBe("");
    await page.reload();
    await page.getByRole("heading", { name: "Inbox" }).waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("API key").waitFor();
    expect(await page.context().cookies()).toEqual([]);
  });

  it("takes the key from behind the address's #, and takes it out of the address", async () => {
    const page = await dashboard.visit("/costs");
    await page.getByRole("heading", { name: "Costs" }).waitFor();
    expect(page.url()).toBe(`${url}/costs`);
    expect(await page.evaluate("history.length")).toBeLessThanOrEqual(2);
  });

  it("says of an address that leads nowhere that it does, and tells programs so in JSON", async () => {
    dashboard.allow(/status of 404/);
    const page = await dashboard.visit("/nowhere/at/all");
    await page.getByRole("heading", { name: "No such page" }).waitFor();
    const told = async (path: string, accept: string) => {
      const response = await fetch(`${url}${path}`, { headers: { accept } });
      return [response.status, response.headers.get("content-type")?.split(";")[0]];
    };
    expect([await told("/nowhere", "text/html"), await told("/nowhere", "*/*"), await told("/links/nowhere", "text/html")]).toEqual([[404, "text/html"], [404, "application/json"], [404, "application/json"]]);
  });

  it("gives the cookie to no other site: not to its forms, its scripts or its sockets", async () => {
    const page = await dashboard.visit("/");
    const [cookie] = await page.context().cookies();
    const header = { cookie: `${cookie?.name}=${cookie?.value}` };
    const post = (headers: Record<string, string>) => fetch(`${url}/api/v1/sessions`, { method: "POST", headers: { ...header, ...headers }, body: "{}" }).then(({ status }) => status);
    expect(await post({ origin: "https://evil.example", "content-type": "application/json", "x-marionette-page": "1" })).toBe(403);
    expect(await post({ origin: "null", "content-type": "application/json", "x-marionette-page": "1" })).toBe(403);
    expect(await post({ "content-type": "text/plain" })).toBe(403);
    expect(await post({ origin: url, "content-type": "application/json", "x-marionette-page": "1" })).toBe(400);
    const upgrade = await fetch(`${url}/api/v1/events`, { headers: { ...header, origin: "https://evil.example" } });
    expect(upgrade.status).toBe(403);

    // The same port of another name of this machine is another site to the browser.
    dashboard.allow(/./);
    const foreign = url.replace("127.0.0.1", "localhost");
    const other = await dashboard.beside(page);
    await other.goto(`${foreign}/favicon.svg`).catch(() => {});
    expect(await other.evaluate<number>(`fetch(${JSON.stringify(`${url}/api/v1/sessions`)}, { method: "POST", credentials: "include", headers: { "content-type": "application/json" }, body: '{"agent":"example"}' }).then((r) => r.status, () => 0)`)).toBe(0);
    expect((await (await fetch(`${url}/api/v1/sessions`, { headers: { authorization: `Bearer ${apiKey}` } })).json() as { items: { agent: string }[] }).items.filter(({ agent }) => agent === "example")).toEqual([]);
  });

  it("loads at most 200 KB before the fleet is there, and nothing from elsewhere", async () => {
    const page = await dashboard.open({ baseURL: url });
    const loaded: { path: string; bytes: number }[] = [];
    page.on("response", (response) => {
      const { origin, pathname } = new URL(response.url());
      expect(origin).toBe(url);
      if (!pathname.startsWith("/api") && !pathname.startsWith("/auth")) void response.body().then((body) => loaded.push({ path: pathname, bytes: gzipSync(body).length }), () => {});
    });
    await page.goto(`/#key=${apiKey}`);
    await page.getByRole("heading", { name: "Fleet" }).waitFor();
    // Nothing is asked over and over.
    await page.waitForLoadState("networkidle");
    const sum = loaded.reduce((total, { bytes }) => total + bytes, 0);
    expect(loaded.map(({ path }) => path)).not.toContainEqual(expect.stringContaining("terminal"));
    expect(sum, `${JSON.stringify(loaded)}`).toBeLessThan(FIRST_LOAD_BYTES);
    expect(sum).toBeGreaterThan(10_000);
  });

  it("sends a policy that runs and loads nothing but its own", async () => {
    const { headers } = await fetch(url);
    const policy = headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self'");
    expect(policy).not.toMatch(/unsafe-(inline|eval)/);
    expect(policy).toContain("frame-ancestors 'none'");
  });
});
