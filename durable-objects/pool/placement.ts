/** Owns placement: which host of a pool takes a request, or why none does, in words that a person can act on. Pure. */

import type { HostInfo } from "../../sdk/protocol/index.ts";
import type { LeaseRequest } from "../rpc.ts";
import { attributes, matches, type Condition } from "./selector.ts";

export interface Member {
  host_id: string;
  info: HostInfo;
  online: boolean;
  draining: boolean;
}

/** What of a request decides where it may go. Requests that are equal in it find the same hosts. */
export type Wish = Pick<LeaseRequest, "agent" | "provider" | "selector" | "host"> & { conditions: readonly Condition[] };

export interface Eligible {
  /** Hosts that would take it if they have room. */
  hosts: readonly Member[];
  /** Why there is none; null where there is one. */
  reason: string | null;
}

/** Hosts named in one reason at most: a pool may have thousands. */
const NAMED = 3;

/** Hosts that suit a request, whether or not they have room. */
export function eligible(pool: string, members: readonly Member[], wish: Wish): Eligible {
  if (wish.host?.must) return sticky(pool, members, wish, wish.host.host_id);
  const online = members.filter((member) => member.online);
  if (online.length === 0) return none(`no host in pool '${pool}' is online`);
  const open = online.filter((member) => !member.draining);
  if (open.length === 0) return none(`${online.length === 1 ? "the only host" : "every host"} in pool '${pool}' that is online is draining`);
  const matching = open.filter((member) => matches(wish.conditions, attributes(member.info)));
  if (matching.length === 0) return none(`no host matches ${wish.selector} (${open.length} online in pool '${pool}')`);
  const offering = matching.filter((member) => trouble(member, wish.provider) === null);
  if (offering.length > 0) return { hosts: offering, reason: null };
  const each = matching.slice(0, NAMED).map((member) => `${member.info.name}: ${trouble(member, wish.provider)}`);
  if (matching.length > NAMED) each.push(`and ${matching.length - NAMED} more`);
  return none(`no host offers ${wish.provider === null ? "a provider that works" : `provider '${wish.provider}'`}; ${each.join("; ")}`);
}

function sticky(pool: string, members: readonly Member[], wish: Wish, hostId: string): Eligible {
  const member = members.find((other) => other.host_id === hostId);
  const where = `its workspace is on host ${member?.info.name ?? hostId}, which`;
  if (!member) return none(`${where} is not in pool '${pool}'`);
  if (!member.online) return none(`${where} is offline`);
  if (member.draining) return none(`${where} is draining`);
  if (!matches(wish.conditions, attributes(member.info))) return none(`${where} does not match ${wish.selector}`);
  const why = trouble(member, wish.provider);
  return why === null ? { hosts: [member], reason: null } : none(`${where} does not offer ${wish.provider === null ? "a provider that works" : `provider '${wish.provider}'`}: ${why}`);
}

const none = (reason: string): Eligible => ({ hosts: [], reason });

/** Why the host cannot give this provider (its default one for null); null where it can. */
function trouble({ info }: Member, wanted: string | null): string | null {
  const name = wanted ?? info.default_provider;
  const provider = info.providers.find((other) => other.name === name);
  if (!provider) return `has no provider '${name}'`;
  return provider.available ? null : provider.detail || `provider '${name}' is not available`;
}

/** Where to: a host with room. The one that has the files comes first, then those that have the agent, then those with the fewest leases for their size. */
export function choose(hosts: readonly Member[], { agent, host: wished }: Pick<Wish, "agent" | "host">, used: ReadonlyMap<string, number>): Member | null {
  const there = wished && hosts.find(({ host_id }) => host_id === wished.host_id);
  if (there && (used.get(there.host_id) ?? 0) < there.info.max_runners) return there;
  let best: Member | null = null;
  let bestScore: readonly [number, number] = [2, 0];
  for (const host of hosts) {
    const count = used.get(host.host_id) ?? 0;
    if (count >= host.info.max_runners) continue;
    const score = [host.info.agents.some(({ name, available }) => name === agent && available) ? 0 : 1, count / host.info.max_runners] as const;
    if (best === null || score[0] < bestScore[0] || (score[0] === bestScore[0] && score[1] < bestScore[1])) [best, bestScore] = [host, score];
  }
  return best;
}

/** The reason in words where hosts suit a request and none has room. */
export function fullReason(hosts: readonly Member[], wish: Wish, used: ReadonlyMap<string, number>): string {
  const [first] = hosts;
  const busy = (host: Member) => `${Math.max(used.get(host.host_id) ?? 0, host.info.max_runners)} of ${host.info.max_runners}`;
  if (!first) return "no host matches";
  if (wish.host?.must) return `its workspace is on host ${first.info.name}, which is full (${busy(first)} runners)`;
  if (hosts.length === 1) return `1 host matches, and it is full (${busy(first)} runners)`;
  const alike = hosts.every((host) => busy(host) === busy(first));
  const capacity = hosts.reduce((sum, host) => sum + host.info.max_runners, 0);
  const total = hosts.reduce((sum, host) => sum + Math.max(used.get(host.host_id) ?? 0, host.info.max_runners), 0);
  return `${hosts.length} hosts match, ${hosts.length === 2 ? "both" : "all"} full (${alike ? `${busy(first)} runners each` : `${total} of ${capacity} runners`})`;
}
