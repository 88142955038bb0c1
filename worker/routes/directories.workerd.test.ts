import { beforeEach, describe, expect, it } from "vitest";
import { newId, type FileEntry, type Host, type Page, type Session } from "../../sdk/protocol/index.ts";
import { doors, type Doors } from "../testing/doors.ts";

let d: Doors;
let id: string;
let home: string;
beforeEach(async () => {
  d = await doors();
  id = newId("host", Date.now());
  home = `/hosts/${id}/browse?root=${encodeURIComponent("/home/anna")}`;
  const host: Partial<Host> = { id, tenant_id: d.one.id, name: "box", pool: "lab", status: "online", browse_roots: ["/home/anna", "/srv/shop"] };
  d.hosts.of(id).host = host as Host;
  for (const name of ["a", "b", "c"]) d.hosts.of(id).files.set(name, new TextEncoder().encode(name.repeat(3)));
});
const launch = (directory: object, more: object = {}, asked: object = {}) => d.failure("POST", "/sessions", { body: { agent: "claude", directory, ...more }, ...asked });

describe("a host's directories", () => {
  it("are browsed page by page, and their files read", async () => {
    const first = await d.json<Page<FileEntry>>("GET", `${home}&limit=2`);
    expect(first).toMatchObject({ total: 3, limit: 2, offset: 0, next_cursor: "2" });
    const next = await d.json<Page<FileEntry>>("GET", `${home}&limit=2&cursor=${first.next_cursor ?? ""}`);
    expect([...first.items, ...next.items].map(({ name }) => name)).toEqual(["a", "b", "c"]);
    expect(next.next_cursor).toBeNull();
    const answer = await d.call("GET", `/hosts/${id}/browse/content?root=/home/anna&path=b`);
    expect([answer.status, await answer.text()]).toEqual([200, "bbb"]);
  });

  it("are for keys with the scope admin alone, and for nobody of another tenant", async () => {
    const { token } = await d.one.key(["read", "write", "approve"]);
    const paths = [home, `/hosts/${id}/browse/content?root=/home/anna&path=a`];
    for (const path of paths) {
      expect(await d.failure("GET", path, { key: token })).toMatchObject({ status: 403, details: { scope: "admin" } });
      expect(await d.failure("GET", path, { key: d.two.token })).toMatchObject({ status: 404, code: "not_found" });
    }
    const directory = { host_id: id, path: "/home/anna/project" };
    expect(await launch(directory, {}, { key: token })).toMatchObject({ status: 403, details: { scope: "admin" } });
    expect(await launch(directory, {}, { key: d.two.token })).toMatchObject({ status: 404, code: "not_found" });
    const schedule = { agent: "claude", prompt: "go", cron: "0 9 * * *", directory };
    expect(await d.failure("POST", "/schedules", { body: schedule, key: token })).toMatchObject({ status: 403 });
  });

  it("are worked in by sessions of the host's pool", async () => {
    const directory = { host_id: id, path: "/home/anna/project" };
    expect(await d.json<Session>("POST", "/sessions", { body: { agent: "claude", directory } }, 201)).toMatchObject({ directory, pool: "lab" });
    d.hosts.of(id).host = { ...(d.hosts.of(id).host as Host), status: "offline" };
    expect(await d.json<Session>("POST", "/sessions", { body: { agent: "claude", pool: "lab", directory: { host_id: id, path: "/srv/shop/gone" } } }, 201)).toMatchObject({ pool: "lab" });
  });

  it.each([
    [{ path: "/home/anna-other" }, /opens \/home\/anna, \/srv\/shop, and \/home\/anna-other lies in none/],
    [{ path: "/etc" }, /lies in none/],
    [{ path: "/home/anna/gone" }, /gone does not exist/],
    [{ path: "/home/anna/../bob" }, /without/],
    [{ path: "/home/anna/" }, /without/],
    [{ path: "home/anna" }, /absolute/],
    [{ path: "/home/anna/a\0b" }, /./],
    [{ path: "/home/anna", host_id: "host_x" }, /./],
    [{ path: "/home/anna", mode: "rw" }, /unknown field/],
  ])("are refused as %j, in words", async (wrong, words) => {
    const error = await launch({ host_id: id, ...wrong });
    expect(error).toMatchObject({ status: 400, code: "bad_request" });
    expect(JSON.stringify(error)).toMatch(words);
  });

  it("are the files: a workspace, a quota, a selector and another pool are refused beside one", async () => {
    const directory = { host_id: id, path: "/home/anna" };
    for (const more of [{ workspace_id: newId("workspace", 1) }, { workspace_quota_mb: 5 }, { selector: "a=b" }, { pool: "other" }]) expect(await launch(directory, more)).toMatchObject({ status: 400, details: { [Object.keys(more)[0] ?? ""]: expect.any(String) as string } });
  });

  it("are none where the configuration opens none", async () => {
    const { browse_roots: _, ...closed } = d.hosts.of(id).host as Host;
    d.hosts.of(id).host = closed;
    expect(await launch({ host_id: id, path: "/home/anna" })).toMatchObject({ status: 400, message: "directory: host box opens no directories", hint: expect.stringContaining("browse_roots") as string });
  });

  it("take queries that they know", async () => {
    for (const query of ["", "?root=", "?root=/a&limit=0", "?root=/a&limit=1001", "?root=/a&offset=-1", "?root=/a&cursor=x", "?root=/a&depth=3"]) expect(await d.failure("GET", `/hosts/${id}/browse${query}`)).toMatchObject({ status: 400 });
  });
});
