/** Owns the client: one object with a resource class per noun over one transport. */

import { ProtocolError } from "./core/errors.ts";
import type { RequestOptions } from "./core/request.ts";
import { api, Transport, type TransportOptions } from "./core/transport.ts";
import { diagnosis, type Diagnosis } from "./protocol/doctor.ts";
import { Admin } from "./resources/admin.ts";
import { AgentConfigs } from "./resources/agent-configs.ts";
import { Budgets } from "./resources/budgets.ts";
import { Events } from "./resources/events.ts";
import { Hosts, Runners } from "./resources/hosts.ts";
import { Keys, RunnerTokens } from "./resources/keys.ts";
import { Permissions } from "./resources/permissions.ts";
import { Schedules } from "./resources/schedules.ts";
import { Sessions } from "./resources/sessions.ts";
import { Tasks } from "./resources/tasks.ts";
import { Voice } from "./resources/voice.ts";
import { UsageReports } from "./resources/usage.ts";
import { Workspaces } from "./resources/workspaces.ts";

export type MarionetteOptions = TransportOptions;

/**
 * The client of a Marionette server, for Node 20 or later, browsers and Workers.
 * `timeout_ms` (30,000) bounds one attempt, `max_retries` (3) how often a call is made again.
 */
export class Marionette {
  readonly sessions: Sessions;
  readonly tasks: Tasks;
  readonly schedules: Schedules;
  readonly workspaces: Workspaces;
  readonly permissions: Permissions;
  readonly runners: Runners;
  readonly hosts: Hosts;
  readonly keys: Keys;
  readonly runnerTokens: RunnerTokens;
  readonly events: Events;
  readonly agentConfigs: AgentConfigs;
  readonly budgets: Budgets;
  readonly usage: UsageReports;
  readonly voice: Voice;
  readonly admin: Admin;
  /** The server's base address, without `/api/v1`. */
  readonly url: string;
  readonly #transport: Transport;
  constructor(options: MarionetteOptions) {
    const transport = new Transport(options);
    this.url = transport.url;
    this.#transport = transport;
    this.sessions = new Sessions(transport);
    this.tasks = new Tasks(transport);
    this.schedules = new Schedules(transport);
    this.workspaces = new Workspaces(transport);
    this.permissions = new Permissions(transport);
    this.runners = new Runners(transport);
    this.hosts = new Hosts(transport);
    this.keys = new Keys(transport);
    this.runnerTokens = new RunnerTokens(transport);
    this.events = new Events(transport);
    this.agentConfigs = new AgentConfigs(transport);
    this.budgets = new Budgets(transport);
    this.usage = new UsageReports(transport);
    this.voice = new Voice(transport);
    this.admin = new Admin(transport);
  }

  /** Lets the deployment look at itself: what is well, what is not, and what to do. */
  doctor(options?: RequestOptions): Promise<Diagnosis> {
    return this.#transport.json("GET", api`/doctor`, (value) => {
      const parsed = diagnosis.safeParse(value);
      if (!parsed.success) throw new ProtocolError("Expected a diagnosis and got something else");
      return parsed.data;
    }, {}, options);
  }
}
