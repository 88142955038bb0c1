/** Owns what a running command has at hand: the client, the output, the world. */

import { Marionette } from "../client.ts";
import { resolveEndpoint, type Endpoint, type EndpointFlags } from "./config.ts";
import type { Io } from "./io.ts";
import { Printer, type Format } from "./output/print.ts";
import { VERSION } from "./version.ts";

export interface GlobalFlags extends EndpointFlags {
  output: Format;
  color: boolean;
  quiet: boolean;
  verbose: boolean;
}

/** One for each run of mctl. The client is made when a command first asks for it, so that `config` works without a server. */
export class Context {
  readonly io: Io;
  readonly flags: GlobalFlags;
  readonly out: Printer;
  #client: Marionette | null = null;
  #endpoint: Endpoint | null = null;
  constructor(io: Io, flags: GlobalFlags) {
    this.io = io;
    this.flags = flags;
    this.out = new Printer(io, flags);
  }
  get endpoint(): Endpoint {
    this.#endpoint ??= resolveEndpoint(this.flags, this.io);
    return this.#endpoint;
  }
  get client(): Marionette {
    if (!this.#client) {
      const { url, apiKey, source } = this.endpoint;
      this.out.debug(`using ${url} (${source})`);
      this.#client = new Marionette({ url, apiKey, headers: { "user-agent": `mctl/${VERSION}` }, ...(this.io.fetch && { fetch: this.io.fetch }) });
    }
    return this.#client;
  }
}
