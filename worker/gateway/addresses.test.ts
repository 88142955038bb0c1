import { BlockList } from "node:net";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Env } from "../env.ts";
import { fetchPublic, isPrivateHost } from "./addresses.ts";
import { checkedBase } from "./upstream.ts";

const hostOf = (url: string) => new URL(url).hostname;

/** What is not the public internet, as IANA's registry has it (RFC 6890); written down a second time, so that a slip in one of both is seen. */
const PRIVATE = new BlockList();
for (const [net, bits] of [
  ["0.0.0.0", 8], ["10.0.0.0", 8], ["100.64.0.0", 10], ["127.0.0.0", 8], ["169.254.0.0", 16], ["172.16.0.0", 12], ["192.0.0.0", 24], ["192.0.2.0", 24], ["192.88.99.0", 24], ["192.168.0.0", 16],
  ["198.18.0.0", 15], ["198.51.100.0", 24], ["203.0.113.0", 24], ["224.0.0.0", 3],
] as const) PRIVATE.addSubnet(net, bits, "ipv4");

const address = fc.oneof(fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)), fc.tuple(fc.constantFrom(0, 10, 100, 127, 169, 172, 192, 198, 203, 224), fc.constantFrom(0, 16, 31, 64, 88, 168, 254, 255), fc.nat(255), fc.nat(255)));
type Address = [number, number, number, number];
const dotted = (parts: Address) => parts.join(".");
const number = ([a, b, c, d]: Address) => ((a * 256 + b) * 256 + c) * 256 + d;
const hex = (value: number) => value.toString(16);
const group = (high: number, low: number) => hex(high * 256 + low);

/** The same address in the spellings that a URL takes. */
const SPELLINGS: ((parts: Address) => string)[] = [
  dotted, (p) => `${dotted(p)}.`, (p) => String(number(p)), (p) => `0x${hex(number(p))}`, (p) => `0X${hex(number(p)).toUpperCase()}`, (p) => `0${number(p).toString(8)}`,
  (p) => p.map((part) => `0x${hex(part)}`).join("."), (p) => p.map((part) => `0${part.toString(8)}`).join("."), ([a, b, c, d]) => `${a}.0x${hex(b)}.${c * 256 + d}`, ([a, b, c, d]) => `${a}.${(b * 256 + c) * 256 + d}`,
  (p) => dotted(p).replaceAll(".", "%2e"), (p) => dotted(p).replaceAll(".", "。"), (p) => Array.from(dotted(p), (char) => (char === "." ? char : String.fromCodePoint(0xff10 + Number(char)))).join(""),
  ([a, b, c, d]) => `[::ffff:${a}.${b}.${c}.${d}]`, ([a, b, c, d]) => `[::FFFF:${group(a, b)}:${group(c, d)}]`, ([a, b, c, d]) => `[0:0:0:0:0:ffff:${group(a, b)}:${group(c, d)}]`,
  ([a, b, c, d]) => `[64:ff9b::${a}.${b}.${c}.${d}]`, ([a, b, c, d]) => `[2002:${group(a, b)}:${group(c, d)}::1]`,
];

describe("private addresses", () => {
  it("are seen in every spelling, and public ones in none", () => {
    fc.assert(
      fc.property(address, fc.constantFrom(...SPELLINGS), (parts, spell) => {
        const url = `http://user@${spell(parts)}:8080/v1`;
        fc.pre(URL.canParse(url));
        expect(isPrivateHost(hostOf(url)), `${url} → ${hostOf(url)}`).toBe(PRIVATE.check(dotted(parts), "ipv4"));
      }),
      { numRuns: 3_000 },
    );
  });
  it.each([
    "http://[::]", "http://[::1]", "http://[0:0:0:0:0:0:0:1]", "http://[::10.0.0.1]", "http://[fc00::1]", "http://[fd00:ec2::254]", "http://[fe80::1]", "http://[fec0::1]", "http://[ff02::1]", "http://[100::1]", "http://[64:ff9b:1::808:808]",
    "http://[2001::1]", "http://[2001:2::1]", "http://[2001:20::1]", "http://[2001:db8::1]", "http://[3fff::1]", "http://[5f00::1]",
  ])("are seen in %s", (url) => {
    expect(isPrivateHost(hostOf(url))).toBe(true);
  });
  it.each([
    "http://localhost", "http://LOCALHOST.", "http://a.b.localhost", "http://localhost.localdomain", "http://db", "http://printer.local", "http://metadata.google.internal", "http://metadata.google.internal.", "http://x.INTERNAL", "http://api.svc.cluster.local",
    "http://router.lan", "http://nas.home.arpa", "http://wiki.corp", "http://vault.private", "http://ｌｏｃａｌｈｏｓｔ", "http://x。local", "http://hidden.onion",
  ])("are seen in the name %s", (url) => {
    expect(isPrivateHost(hostOf(url))).toBe(true);
  });
  it.each(["https://api.anthropic.com", "https://api.openai.com.", "https://8.8.8.8", "https://[2606:4700::1111]", "https://[2a00:1450::1]", "https://local.example.org", "https://internal.example.com", "https://localhost.example.com"])("are not seen in %s", (url) => {
    expect(isPrivateHost(hostOf(url))).toBe(false);
  });
  it("are refused with words, as is all that is no plain web address", () => {
    const env = (leave?: string) => ({ ...(leave && { MARIONETTE_GATEWAY_PRIVATE: leave }) }) as Env;
    for (const base of ["http://169.254.169.254/latest", "https://db:5432", "file:///etc/passwd", "ftp://example.com", "data:text/plain,x", "https://user:secret@api.openai.com", "nonsense", ""]) {
      expect(() => checkedBase(env(), base), `${base}`).toThrow(expect.objectContaining({ code: "bad_request", message: expect.stringMatching(/^base_url: /) as string }) as Error);
    }
    expect(checkedBase(env("1"), "http://127.0.0.1:11434/v1").host).toBe("127.0.0.1:11434");
    expect(() => checkedBase(env("1"), "file:///etc/passwd")).toThrow("http or https");
  });
  it("are left to the network that refuses them, where there is one, for names that lead to them", async () => {
    const asked: string[] = [];
    const network = { fetch: async (url: string) => { asked.push(url); return new Response("by the public network"); } } as unknown as Fetcher;
    const env = { PUBLIC_NETWORK: network } as Env;
    expect(await (await fetchPublic(env, "https://rebinding.example.com/v1", {})).text()).toBe("by the public network");
    expect(await (await fetchPublic({ ...env, MARIONETTE_GATEWAY_PRIVATE: "1" }, "data:,plain", {})).text()).toBe("plain");
    expect(await (await fetchPublic({} as Env, "data:,plain", {})).text()).toBe("plain");
    expect(asked).toEqual(["https://rebinding.example.com/v1"]);
  });
});
