/** Owns the client: one object with a resource class per noun over one transport. */

import { Transport, type TransportOptions } from "./core/transport.ts";
import { Admin } from "./resources/admin.ts";
import { Events } from "./resources/events.ts";
import { Hosts, Runners } from "./resources/hosts.ts";
import { Keys, RunnerTokens } from "./resources/keys.ts";
import { Permissions } from "./resources/permissions.ts";
import { Sessions } from "./resources/sessions.ts";
import { Tasks } from "./resources/tasks.ts";
import { Workspaces } from "./resources/workspaces.ts";

export type MarionetteOptions = TransportOptions;

/**
 * The client of a Marionette server, for Node 20 or later, browsers and Workers.
 * `timeout_ms` (30,000) bounds one attempt, `max_retries` (3) how often a call is made again.
 */
export class Marionette {
  readonly sessions: Sessions;
  readonly tasks: Tasks;
  readonly workspaces: Workspaces;
  readonly permissions: Permissions;
  readonly runners: Runners;
  readonly hosts: Hosts;
  readonly keys: Keys;
  readonly runnerTokens: RunnerTokens;
  readonly events: Events;
  readonly admin: Admin;
  /** The server's base address, without `/api/v1`. */
  readonly url: string;
  constructor(options: MarionetteOptions) {
    const transport = new Transport(options);
    this.url = transport.url;
    this.sessions = new Sessions(transport);
    this.tasks = new Tasks(transport);
    this.workspaces = new Workspaces(transport);
    this.permissions = new Permissions(transport);
    this.runners = new Runners(transport);
    this.hosts = new Hosts(transport);
    this.keys = new Keys(transport);
    this.runnerTokens = new RunnerTokens(transport);
    this.events = new Events(transport);
    this.admin = new Admin(transport);
  }
}
