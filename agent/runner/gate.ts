/** Owns the permission gate: answers what policy decides, asks the session about the rest, denies whenever anything fails. */

import type { CarriedPermission } from "../../sdk/protocol/capsule.ts";
import { decide, grantOf, type Grant, type Place } from "../../sdk/protocol/decide.ts";
import type { RunnerItem } from "../../sdk/protocol/event.ts";
import { newChildId } from "../../sdk/protocol/ids.ts";
import type { CommandBody, RunnerSettings } from "../../sdk/protocol/runner-link.ts";
import type { Json } from "../../sdk/protocol/values.ts";
import type { GateAnswer, GateCall } from "../adapters/adapter.ts";
import { grantKeys, MAX_GRANT_CHARS } from "../../sdk/protocol/approval.ts";
import { cut, cutJson } from "./bounds.ts";

type Answer = Extract<CommandBody, { kind: "permission.answer" }>;
export type PermissionEvent = { [T in "permission.requested" | "permission.withdrawn"]: Omit<Extract<RunnerItem, { type: T }>, "at"> }["permission.requested" | "permission.withdrawn"];

export interface GateOptions {
  session_id: string;
  place: Place;
  now: () => number;
  /** Journals a permission event of the current run (or none), together with the ids that now wait. */
  record: (event: PermissionEvent | null, pending: string[]) => void;
}

interface Asked {
  call: GateCall;
  answer: (answer: GateAnswer) => void;
}

export class Gate {
  readonly #options: GateOptions;
  readonly #asked = new Map<string, Asked>();
  #settings: RunnerSettings | null = null;
  #fault = "the session has not sent its rules yet";
  /** Given by `turn` approvals and gone with the run. */
  #turn: Grant[] = [];
  /** The session has them, too, and says them again to every runner and after every break of the link. */
  #session: Grant[] = [];
  /** A run has ended since edit mode was set to `turn`. */
  #turnSpent = false;
  /** Questions and answers of the interrupted turn that the run goes on with, until the agent asks again. */
  #carried: CarriedPermission[] = [];
  /** The agent is being ended where it stands: it hears no answer any more, and what it asked goes on waiting without it. */
  #left = false;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** Why the gate cannot do its work; null where it can. */
  get fault(): string | null {
    return this.#settings === null ? this.#fault : null;
  }

  /** A run begins; `grants`: given to the interrupted turn that it goes on with. */
  turnBegins(carried: readonly CarriedPermission[], grants: readonly Grant[] = []): void {
    this.#carried = [...carried];
    this.#turn = [...grants];
    this.#left = false;
  }

  /** The agent is ended where it stands: its questions stay, for whoever goes on from there. */
  leave(): void {
    this.#left = true;
  }

  /** Takes the session's settings over at once; null is settings that do not parse. `changed`: they were set now, not repeated. */
  update(settings: RunnerSettings | null, changed: boolean): void {
    if (changed || settings?.edit_mode !== "turn") this.#turnSpent = false;
    this.#settings = settings;
    if (settings?.grants) this.#session = [...settings.grants];
    if (settings === null) this.#fault = "the session's rules do not parse";
  }

  /** Decides on one call, waiting for a person as long as it takes. Never throws. */
  async check(call: GateCall): Promise<GateAnswer> {
    try {
      const settings = this.#settings;
      // Told no, an agent would remember it, and not ask again where it goes on.
      if (this.#left) return await new Promise<never>(() => {});
      if (settings === null) return deny(`the permission gate is not working: ${this.#fault}`);
      if (call.signal?.aborted) return deny("the question was taken back");
      const { place } = this.#options;
      const edit_mode = settings.edit_mode === "turn" && this.#turnSpent ? "off" : settings.edit_mode;
      const decision = decide(call, { rules: settings.rules, edit_mode, place, grants: [...this.#turn, ...this.#session] });
      if (decision.verdict === "allow") return { allow: true };
      if (decision.verdict === "deny") return deny(decision.reasons.at(-1) ?? "a rule denies it");
      return await this.#ask(call, decision);
    } catch (error) {
      return deny(`the permission gate failed: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  async #ask(call: GateCall, decision: ReturnType<typeof decide>): Promise<GateAnswer> {
    const { value, truncated } = cutJson(call.input);
    const carried = this.#carry(call, value, truncated > 0);
    if (carried && carried.status !== "pending") return this.#decided(call, carried);
    const id = carried?.permission_id ?? newChildId("permission", this.#options.session_id, this.#options.now());
    const reasons = decision.reasons.map((reason) => cut(reason, 500));
    if (truncated > 0) reasons.unshift(`the call is ${truncated} characters longer than is shown here`);
    const { promise, resolve } = Promise.withResolvers<GateAnswer>();
    this.#asked.set(id, { call, answer: resolve });
    const data = {
      permission_id: id, tool: toolName(call.tool), input: value, summary: cut(decision.summary, 8_192), risk: decision.risk, reasons: reasons.slice(0, 20),
      ...(call.call_id !== undefined && { call_id: cut(call.call_id, 200) }), ...this.#keys(call),
    };
    this.#options.record(carried ? null : { type: "permission.requested", data }, [...this.#asked.keys()]);
    const withdraw = () => this.#withdraw(id, "the question was taken back");
    call.signal?.addEventListener("abort", withdraw, { once: true });
    try {
      return await promise;
    } finally {
      call.signal?.removeEventListener("abort", withdraw);
    }
  }

  /** What the interrupted turn knew of this call, once. A call of which a part was not shown to the person who allowed it is asked about again. */
  #carry({ tool }: GateCall, input: Json, truncated: boolean): CarriedPermission | null {
    const wanted = canonical(input);
    const at = this.#carried.findIndex((each) => each.tool === toolName(tool) && (each.status === "pending" || !truncated) && canonical(each.input) === wanted);
    return at === -1 ? null : (this.#carried.splice(at, 1)[0] ?? null);
  }

  #decided(call: GateCall, { status, reason, scope }: Pick<CarriedPermission, "status" | "reason" | "scope">): GateAnswer {
    if (status !== "approved") return deny(reason ?? "a person denied it");
    if (scope !== "once") this.#grant(call, scope);
    return { allow: true };
  }

  /** Takes a person's answer; one for a question that does not wait any more changes nothing. */
  answer({ permission_id, decision, reason, scope }: Answer): void {
    const asked = this.#asked.get(permission_id);
    if (!asked) {
      // Answered before the agent has come to ask again.
      this.#carried = this.#carried.map((each) => (each.permission_id === permission_id ? { ...each, status: decision, reason, scope } : each));
      return;
    }
    if (this.#left) return;
    this.#asked.delete(permission_id);
    this.#options.record(null, [...this.#asked.keys()]);
    asked.answer(this.#decided(asked.call, { status: decision, reason, scope }));
  }

  /** The run is to end: what it asked is taken back and denied. */
  withdrawAll(reason: string): void {
    for (const id of this.#asked.keys()) this.#withdraw(id, reason);
  }

  /** The run has ended, and with it what held for its turn. */
  turnEnds(): void {
    this.withdrawAll("the task has ended");
    this.#turn = [];
    this.#carried = [];
    this.#turnSpent = true;
  }

  #grant(call: GateCall, scope: "turn" | "session"): void {
    const grant = grantOf(call, this.#options.place);
    if (grant !== null && sayable(grant)) (scope === "turn" ? this.#turn : this.#session).push(grant);
  }

  /** What an approval with a scope would cover, for the session to remember. */
  #keys(call: GateCall): { keys?: string[] | null } {
    const grant = grantOf(call, this.#options.place);
    return grant !== null && sayable(grant) ? { keys: grant.keys } : {};
  }

  #withdraw(id: string, reason: string): void {
    const asked = this.#asked.get(id);
    if (!asked) return;
    this.#asked.delete(id);
    // It is not taken back: it waits for the agent's next process.
    if (this.#left) return asked.answer(deny(reason));
    this.#options.record({ type: "permission.withdrawn", data: { permission_id: id } }, [...this.#asked.keys()]);
    asked.answer(deny(reason));
  }
}

/** The request can hold it as it is: what the session cannot remember, this runner does not either. */
function sayable({ tool, keys, input }: Grant): boolean {
  return toolName(tool) === tool && input.length <= MAX_GRANT_CHARS && (keys === null || grantKeys.safeParse(keys).success);
}

/** A tool's name as a request holds it. */
function toolName(tool: string): string {
  return cut(tool, 200) || "unnamed";
}

/** JSON that is the same for the same value, whatever the order of its keys. */
function canonical(value: Json): string {
  return JSON.stringify(value, (_key, each: Json) => (each !== null && typeof each === "object" && !Array.isArray(each) ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1))) : each));
}

function deny(reason: string): GateAnswer {
  return { allow: false, reason };
}
