/**
 * Owns which addresses a model provider may have: what a tenant names is fetched from where the worker runs, and must not reach into the networks there.
 *
 * A threat model in short, for addresses that tenants give (a session's `base_url`, an agent config's):
 * - An address in any spelling that URLs know, and a name that only private networks have, are refused here, when they are given and again with every call.
 * - A redirect is never followed: it goes to the agent as it came, and the agent has no other way out than it had.
 * - A public name may lead to a private address, now or later. On Cloudflare a worker's `fetch` reaches no private network at all. In workerd on one's
 *   own machine the binding `PUBLIC_NETWORK` refuses the connection itself, whatever the name led to at that moment; a deployment that runs the worker
 *   elsewhere gives it the same binding, or keeps it out of its private networks.
 * - `MARIONETTE_GATEWAY_PRIVATE=1` lifts all of this; `npm start` sets it, because there the tenant is the machine's owner, with models of their own.
 * The deployment's own addresses (`MARIONETTE_ANTHROPIC_BASE_URL`, …) are its operator's word and are not looked at.
 */

import type { Env } from "../env.ts";

/** IPv4 ranges that are not the public internet, as first address and prefix length (RFC 6890 and its updates). */
const PRIVATE4: [string, number][] = [
  ["0.0.0.0", 8], ["10.0.0.0", 8], ["100.64.0.0", 10], ["127.0.0.0", 8], ["169.254.0.0", 16], ["172.16.0.0", 12], ["192.0.0.0", 24], ["192.0.2.0", 24], ["192.88.99.0", 24], ["192.168.0.0", 16],
  ["198.18.0.0", 15], ["198.51.100.0", 24], ["203.0.113.0", 24], ["224.0.0.0", 4], ["240.0.0.0", 4],
];

const number4 = (address: string): number => address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
function isPrivate4(address: string): boolean {
  const value = number4(address);
  return PRIVATE4.some(([first, bits]) => Math.floor(value / 2 ** (32 - bits)) === Math.floor(number4(first) / 2 ** (32 - bits)));
}

/** The eight groups of an IPv6 address as a URL prints it. */
function groups6(address: string): number[] {
  const [head = "", tail] = address.split("::");
  const parse = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const [front, back] = [parse(head), tail === undefined ? [] : parse(tail)];
  return [...front, ...Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => 0), ...back];
}
function isPrivate6(address: string): boolean {
  const groups = groups6(address);
  const [a = 0, b = 0] = groups;
  const last4 = `${(groups[6] ?? 0) >> 8}.${(groups[6] ?? 0) & 255}.${(groups[7] ?? 0) >> 8}.${(groups[7] ?? 0) & 255}`;
  // Loopback, unspecified, and IPv4 in IPv6: mapped, compatible, translated.
  if (groups.slice(0, 5).every((group) => group === 0)) return groups[5] === 0xffff || groups[5] === 0 ? isPrivate4(last4) || groups[5] === 0 : true;
  if (a === 0x64 && b === 0xff9b && groups.slice(2, 6).every((group) => group === 0)) return isPrivate4(last4);
  if (a === 0x2002) return isPrivate4(`${b >> 8}.${b & 255}.${(groups[2] ?? 0) >> 8}.${(groups[2] ?? 0) & 255}`);
  // Only 2000::/3 is global; of it, what is assigned to protocols (Teredo among them) and documentation are not.
  return (a & 0xe000) !== 0x2000 || (a === 0x2001 && (b < 0x200 || b === 0xdb8)) || (a === 0x3fff && b < 0x1000);
}

/** True where a host is of a private network, or may only be known in one. The name must be as `URL.hostname` prints it. */
export function isPrivateHost(hostname: string): boolean {
  if (hostname.startsWith("[")) return isPrivate6(hostname.slice(1, -1));
  if (/^\d+\.\d+\.\d+\.\d+$/.test(hostname)) return isPrivate4(hostname);
  const name = hostname.replace(/\.$/, "").toLowerCase();
  return !name.includes(".") || /(^|\.)(localhost|localdomain|local|internal|intranet|private|lan|home|corp|home\.arpa|onion|test|invalid|example)$/.test(name);
}

/** How an address that a tenant gave is fetched: where there is a way that leads to the public internet alone, by that one. */
export function fetchPublic(env: Env, url: string, init: RequestInit): Promise<Response> {
  const network = env.MARIONETTE_GATEWAY_PRIVATE === "1" ? undefined : env.PUBLIC_NETWORK;
  return network ? network.fetch(url, init) : fetch(url, init);
}
