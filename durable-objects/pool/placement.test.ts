/** Owns the tests of placement: which host, and the reason in words where there is none. */

import { describe, expect, it } from "vitest";
import type { HostInfo } from "../../sdk/protocol/index.ts";
import { choose, eligible, fullReason, type Member, type Wish } from "./placement.ts";
import { hostInfoFor } from "./sample.ts";
import { parseSelector } from "./selector.ts";

const member = (name: string, info: Partial<HostInfo> = {}, more: Partial<Member> = {}): Member => ({ host_id: `id-${name}`, info: hostInfoFor(name, info), online: true, draining: false, ...more });
function wish(more: Partial<Wish> = {}): Wish {
  const parsed = parseSelector(more.selector ?? null);
  if (!parsed.ok) throw new Error(parsed.error.message);
  return { agent: "example", provider: null, selector: null, host: null, ...more, conditions: parsed.value };
}
const full = (members: Member[], asked = wish()) => fullReason(members, asked, new Map(members.map((m) => [m.host_id, m.info.max_runners])));

describe("placement says why", () => {
  const off = { online: false };
  it.each<[string, Member[], Partial<Wish>, string]>([
    ["the pool is empty", [], {}, "no host in pool 'default' is online"],
    ["all are offline", [member("a", {}, off)], {}, "no host in pool 'default' is online"],
    ["the only one drains", [member("a", {}, { draining: true }), member("b", {}, off)], {}, "the only host in pool 'default' that is online is draining"],
    ["all drain", [member("a", {}, { draining: true }), member("b", {}, { draining: true })], {}, "every host in pool 'default' that is online is draining"],
    ["no label fits", [member("a")], { selector: "gpu=nvidia" }, "no host matches gpu=nvidia (1 online in pool 'default')"],
    ["no provider works", [member("host-a"), member("host-b", { providers: [] })], { provider: "docker" }, "no host offers provider 'docker'; host-a: Docker engine does not answer; host-b: has no provider 'docker'"],
    ["the default provider does not work", [member("host-a", { default_provider: "docker" })], {}, "no host offers a provider that works; host-a: Docker engine does not answer"],
    ["many lack the provider", ["a", "b", "c", "d", "e"].map((name) => member(name, { providers: [] })), { provider: "x" }, "no host offers provider 'x'; a: has no provider 'x'; b: has no provider 'x'; c: has no provider 'x'; and 2 more"],
    ["its own host is offline", [member("a", {}, off), member("b")], { host: { host_id: "id-a", must: true } }, "its workspace is on host a, which is offline"],
    ["its own host is unknown", [member("b")], { host: { host_id: "id-a", must: true } }, "its workspace is on host id-a, which is not in pool 'default'"],
    ["its own host drains", [member("a", {}, { draining: true })], { host: { host_id: "id-a", must: true } }, "its workspace is on host a, which is draining"],
    ["its own host lacks the provider", [member("a")], { host: { host_id: "id-a", must: true }, provider: "docker" }, "its workspace is on host a, which does not offer provider 'docker': Docker engine does not answer"],
  ])("when %s", (_, members, more, reason) => {
    expect(eligible("default", members, wish(more))).toEqual({ hosts: [], reason });
  });

  it("when hosts match and are full", () => {
    expect(full([member("a")])).toBe("1 host matches, and it is full (4 of 4 runners)");
    expect(full([member("a"), member("b")])).toBe("2 hosts match, both full (4 of 4 runners each)");
    expect(full([member("a"), member("b"), member("c")])).toBe("3 hosts match, all full (4 of 4 runners each)");
    expect(full([member("a"), member("b", { max_runners: 8 })])).toBe("2 hosts match, both full (12 of 12 runners)");
    expect(full([member("a")], wish({ host: { host_id: "id-a", must: true } }))).toBe("its workspace is on host a, which is full (4 of 4 runners)");
  });
});

describe("placement chooses", () => {
  it("the host with the fewest leases for its size", () => {
    const hosts = [member("small", { max_runners: 2 }), member("large", { max_runners: 10 })];
    expect(choose(hosts, wish(), new Map([["id-small", 1], ["id-large", 4]]))?.info.name).toBe("large");
    expect(choose(hosts, wish(), new Map([["id-small", 1], ["id-large", 6]]))?.info.name).toBe("small");
  });
  it("a host that has the agent before one that does not, but any host rather than none", () => {
    const hosts = [member("without", { agents: [] }), member("with", { max_runners: 1 })];
    expect(choose(hosts, wish(), new Map())?.info.name).toBe("with");
    expect(choose(hosts, wish(), new Map([["id-with", 1]]))?.info.name).toBe("without");
    expect(choose(hosts, wish({ agent: "unheard-of" }), new Map())?.info.name).toBe("without");
  });
  it("the host that has the files, while it has room", () => {
    const hosts = [member("a"), member("b", { max_runners: 1 })];
    const asked = wish({ host: { host_id: "id-b", must: false } });
    expect(choose(hosts, asked, new Map())?.info.name).toBe("b");
    expect(choose(hosts, asked, new Map([["id-b", 1]]))?.info.name).toBe("a");
  });
  it("no host beyond its capacity", () => {
    expect(choose([member("a", { max_runners: 0 })], wish(), new Map())).toBeNull();
    expect(choose([member("a")], wish(), new Map([["id-a", 4]]))).toBeNull();
  });
});
