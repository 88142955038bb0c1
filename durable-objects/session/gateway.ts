/** Owns the session's side of the model gateway: whose token it is, one turn a call, and the way of call records into the database. */

import { equalConstantTime, fail, newChildId, ok, type BudgetNotice, type Result } from "../../sdk/protocol/index.ts";
import type { CallGrant, GatewayClaim, KeyPlace } from "../model-rpc.ts";
import type { ModelCalls } from "../ports.ts";
import { mayRefuse, type CallReport, type ModelCall, type Via } from "./budget.ts";
import type { Engine } from "./engine.ts";
import { Drain } from "./outbox.ts";

/** Records of calls leave together, so often at most. */
const PACE_MS = 2_000;
/** What was recorded is struck off by a write of its own where no other comes within this. */
const SETTLE_MS = 3_000;
const ROWS = 200;
/** The same for every token that does not fit: nobody learns which sessions there are. */
const UNKNOWN = fail("unauthorized", "The gateway key is unknown, or its runner is gone");

export class Gateway {
  readonly #engine: Engine;
  readonly #calls: ModelCalls | undefined;
  readonly #rows: Drain;
  #settling: ReturnType<typeof setTimeout> | null = null;

  constructor(engine: Engine, calls: ModelCalls | undefined, waitUntil: (work: Promise<unknown>) => void) {
    this.#engine = engine;
    this.#calls = calls;
    this.#rows = new Drain(PACE_MS, () => this.#send(), waitUntil, () => engine.setAlarm());
    engine.listen(() => {
      if (calls && engine.requests.any) this.#rows.nudge(false);
    });
  }

  /** When records that could not be sent are tried again; null where none wait. */
  get deadline(): number | null {
    return this.#rows.deadline;
  }
  resume(): void {
    if (this.#calls && this.#engine.requests.any) this.#rows.nudge(true);
  }
  ring(now: number): void {
    if (this.#rows.deadline !== null && this.#rows.deadline <= now) this.#rows.start();
  }

  claim(tokenHash: string): Result<GatewayClaim> {
    const { session, attachment } = this.#engine.state;
    const access = attachment?.gateway;
    if (!session || !access || session.status === "terminated" || !equalConstantTime(tokenHash, access.hash)) return UNKNOWN;
    const { tenant_id, agent, base_url = null, agent_config_id, has_api_key } = session;
    let key: KeyPlace = { kind: "deployment" };
    if (has_api_key) key = access.sealed_key === null ? { kind: "byok_missing" } : { kind: "byok", sealed: access.sealed_key };
    else if (agent_config_id) key = { kind: "agent_config", id: agent_config_id };
    return ok({ tenant_id, agent, base_url, key });
  }

  open(tokenHash: string, call: ModelCall): Result<CallGrant> {
    const claim = this.claim(tokenHash);
    const id = this.#engine.state.session?.id;
    if (!claim.ok || id === undefined) return UNKNOWN;
    const permission_id = mayRefuse(this.#engine.state) ? newChildId("permission", id, Date.now()) : "";
    const { refused } = this.#engine.feed({ type: "model.open", call, permission_id });
    if (refused) return { ok: false, error: refused };
    const open = this.#engine.state.gateway.calls.find((each) => each.id === call.id);
    if (!open) return UNKNOWN;
    const { task_id, run_id, labels } = open;
    return ok({ ...claim.value, task_id, run_id, labels });
  }

  keep(id: string, via: Via | null): void {
    this.#engine.feed({ type: "model.keep", id, via });
  }

  settle(report: CallReport, notices: BudgetNotice[]): void {
    // The gateway may say a moment after the task's end what its last call cost.
    const task = this.#engine.state.gateway.calls.find(({ id }) => id === report.id)?.task_id;
    this.#engine.feed({ type: "model.settle", report, notices, known: task ? this.#engine.tasks.get(task) : null });
  }

  refuse(id: string, notice: BudgetNotice, ask: boolean): void {
    const { session } = this.#engine.state;
    if (session) this.#engine.feed({ type: "model.refused", id, notice, ask, permission_id: newChildId("permission", session.id, Date.now()) });
  }

  async #send(): Promise<boolean> {
    const { requests } = this.#engine;
    const values = requests.first(ROWS);
    if (values.length > 0) await this.#calls?.record(values);
    const more = values.length === ROWS;
    requests.recorded(values.map(({ id }) => id), !more);
    if (this.#settling !== null) clearTimeout(this.#settling);
    this.#settling = setTimeout(() => requests.settle(), SETTLE_MS);
    return more;
  }
}
