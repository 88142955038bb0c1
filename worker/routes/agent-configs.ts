/** Owns the routes of agent configs: model providers' keys under a name, sealed on the way in, masked on the way out, and tried with one cheap call. */

import { createRoute } from "@hono/zod-openapi";
import { agentConfig, agentConfigCreate, agentConfigPatch, agentConfigTest, Failure } from "../../sdk/protocol/index.ts";
import { actorOf, type App } from "../context.ts";
import { createConfig, openConfig, updateConfig } from "../gateway/configs.ts";
import { policies } from "../gateway/policies.ts";
import { testConfig } from "../gateway/test-call.ts";
import { checkedBase } from "../gateway/upstream.ts";
import { creating } from "../middleware/creating.ts";
import { answers, failures, keyed, named, pages, takes } from "../openapi.ts";
import { idParam, listQuery } from "./schemas.ts";

const AgentConfig = named("AgentConfig", agentConfig);
const AgentConfigTest = named("AgentConfigTest", agentConfigTest);
const tags = ["agent configs"];
const create = createRoute({
  method: "post", path: "/agent-configs", tags, ...keyed("admin"), summary: "Keep a model provider's key", description: "The key is sealed under the tenant's data key and never shown again but masked. Sessions name the config by id or name.",
  request: takes("AgentConfigCreate", agentConfigCreate), responses: { 201: answers(AgentConfig, "The config, its key masked"), ...failures("conflict", "payload_too_large") },
});
const list = createRoute({ method: "get", path: "/agent-configs", tags, ...keyed("read"), summary: "List agent configs", request: listQuery({}), responses: { 200: pages(AgentConfig, "Newest first"), ...failures() } });
const read = createRoute({ method: "get", path: "/agent-configs/{id}", tags, ...keyed("read"), summary: "Read an agent config", request: idParam("agent_config"), responses: { 200: answers(AgentConfig, "The config, its key masked"), ...failures("not_found") } });
const update = createRoute({
  method: "patch", path: "/agent-configs/{id}", tags, ...keyed("admin"), summary: "Change an agent config", description: "A new key holds for calls that begin a few seconds later, also in sessions that run.",
  request: { ...idParam("agent_config"), ...takes("AgentConfigPatch", agentConfigPatch) }, responses: { 200: answers(AgentConfig, "The config as it is now"), ...failures("not_found", "conflict", "payload_too_large") },
});
const remove = createRoute({
  method: "delete", path: "/agent-configs/{id}", tags, ...keyed("admin"), summary: "Delete an agent config", description: "Calls of sessions that use it fail from then on, and say why.",
  request: idParam("agent_config"), responses: { 200: answers(AgentConfig, "The config that was"), ...failures("not_found") },
});
const test = createRoute({
  method: "post", path: "/agent-configs/{id}/test", tags, ...keyed("admin"), summary: "Try an agent config", description: "Makes one call of one token, and says in words how it went.",
  request: idParam("agent_config"), responses: { 200: answers(AgentConfigTest, "How it went"), ...failures("not_found") },
});

const unknown = () => new Failure("not_found", "No agent config of that id here");

export function agentConfigRoutes(app: App): void {
  app.openapi(create, async (c) => {
    const { tenant_id, key_id } = actorOf(c);
    const input = c.req.valid("json");
    if (input.base_url !== null) checkedBase(c.env, input.base_url);
    return c.json(await creating(c, { owner: tenant_id, scope: key_id }, (ids) => createConfig(c.env, c.get("records"), tenant_id, ids.id("agent_config"), ids.now, input)), 201);
  });
  app.openapi(list, async (c) => c.json(await c.get("records").agentConfigs.list(actorOf(c).tenant_id, c.req.valid("query")), 200));
  app.openapi(read, async (c) => {
    const found = await c.get("records").agentConfigs.find(actorOf(c).tenant_id, c.req.valid("param").id);
    if (!found) throw unknown();
    return c.json(found.config, 200);
  });
  app.openapi(update, async (c) => {
    const { tenant_id } = actorOf(c);
    const { id } = c.req.valid("param");
    const patch = c.req.valid("json");
    if (patch.base_url) checkedBase(c.env, patch.base_url);
    const changed = await updateConfig(c.env, c.get("records"), tenant_id, id, patch);
    if (!changed) throw unknown();
    policies.forgetConfig(tenant_id, id, changed.name);
    return c.json(changed, 200);
  });
  app.openapi(remove, async (c) => {
    const { tenant_id } = actorOf(c);
    const { id } = c.req.valid("param");
    const gone = await c.get("records").agentConfigs.remove(tenant_id, id);
    if (!gone) throw unknown();
    policies.forgetConfig(tenant_id, id, gone.name);
    return c.json(gone, 200);
  });
  app.openapi(test, async (c) => {
    const opened = await openConfig(c.env, c.get("records"), actorOf(c).tenant_id, c.req.valid("param").id);
    if (!opened) throw unknown();
    return c.json(await testConfig(c.env, opened), 200);
  });
}
