/** Owns which addresses of the network are public: all that IANA's special-purpose registries do not take away. */

import { BlockList, isIP, isIPv4 } from "node:net";

/** https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-: everything not globally reachable, with multicast and what carries IPv4 inside. */
const V4 = ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"];
/** Only 2000::/3 is given out; of it, tunnels and documentation are taken away. */
const V6 = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];

const v4 = new BlockList();
for (const range of V4) v4.addSubnet(range.slice(0, range.indexOf("/")), Number(range.slice(range.indexOf("/") + 1)), "ipv4");
const v6 = new BlockList();
for (const range of V6) v6.addSubnet(range.slice(0, range.indexOf("/")), Number(range.slice(range.indexOf("/") + 1)), "ipv6");
const global6 = new BlockList();
global6.addSubnet("2000::", 3, "ipv6");

/** Whether an IP address is one of the public internet; false for anything that is no address. */
export function isPublicAddress(address: string): boolean {
  const bare = address.replace(/^\[(.*)\]$/, "$1").replace(/%.*$/, "");
  if (isIP(bare) === 0) return false;
  return isIPv4(bare) ? !v4.check(bare, "ipv4") : global6.check(bare, "ipv6") && !v6.check(bare, "ipv6");
}
