/** Owns `client.agentConfigs`: model providers' addresses and keys under a name, kept sealed by the server. */

import type * as z from "zod";
import type { AgentConfig, agentConfigCreate, AgentConfigPatch, AgentConfigTest } from "../protocol/agent-config.ts";
import { ProtocolError } from "../core/errors.ts";
import type { Pages } from "../core/page.ts";
import type { RequestOptions } from "../core/request.ts";
import { Resource, resource, type ListParams } from "../core/resource.ts";
import { api } from "../core/transport.ts";

export type AgentConfigCreateParams = z.input<typeof agentConfigCreate>;

/** Agent configs of the tenant. Changing and trying them needs the scope `admin`. */
export class AgentConfigs extends Resource {
  create(params: AgentConfigCreateParams, options?: RequestOptions): Promise<AgentConfig> {
    return this.transport.json("POST", api`/agent-configs`, resource<AgentConfig>, { body: params }, options);
  }
  list(params: ListParams = {}, options?: RequestOptions): Pages<AgentConfig> {
    return this.pages<AgentConfig>(api`/agent-configs`, { ...params }, options);
  }
  get(id: string, options?: RequestOptions): Promise<AgentConfig> {
    return this.transport.json("GET", api`/agent-configs/${id}`, resource<AgentConfig>, {}, options);
  }
  update(id: string, patch: AgentConfigPatch, options?: RequestOptions): Promise<AgentConfig> {
    return this.transport.json("PATCH", api`/agent-configs/${id}`, resource<AgentConfig>, { body: patch }, options);
  }
  delete(id: string, options?: RequestOptions): Promise<AgentConfig> {
    return this.transport.json("DELETE", api`/agent-configs/${id}`, resource<AgentConfig>, {}, options);
  }
  /** Makes one call of one token with it, and says in words how that went. */
  test(id: string, options?: RequestOptions): Promise<AgentConfigTest> {
    const parse = (value: unknown): AgentConfigTest => {
      if (typeof value !== "object" || value === null || !("message" in value)) throw new ProtocolError("Expected the outcome of a try and got something else");
      return value as AgentConfigTest;
    };
    return this.transport.json("POST", api`/agent-configs/${id}/test`, parse, {}, options);
  }
}
