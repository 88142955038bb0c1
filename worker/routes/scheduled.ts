/** Owns the making of a schedule with its session, by whichever door it is asked for. */

import { sessionStub } from "../../durable-objects/index.ts";
import type { Schedule, ScheduleCreate } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type Ctx } from "../context.ts";
import { configFor } from "../gateway/configs.ts";
import type { NewIds } from "../middleware/creating.ts";
import { copied, headOf } from "./listing.ts";

/** The config's id in place of its name, and its model where none is named. */
export async function withConfig(c: Ctx, input: ScheduleCreate): Promise<ScheduleCreate> {
  if (!input.agent_config) return input;
  const config = await configFor(c.get("records"), actorOf(c).tenant_id, input.agent_config, input.agent);
  return { ...input, agent_config: config.id, ...(input.model === undefined && config.model !== null && { model: config.model }) };
}

/** Makes the session and its schedule; the same on every try. */
export async function makeSchedule(c: Ctx, ids: NewIds, input: ScheduleCreate): Promise<Schedule> {
  const session_id = ids.id("session");
  const all = { session_id, schedule_id: ids.child("schedule", session_id), workspace_id: input.workspace_id ?? ids.id("workspace") };
  const origin = await headOf(c, input.workspace_id);
  const value = await call(() => sessionStub(c.env, session_id).createSchedule(actorOf(c), all, input, origin));
  await copied(c, [{ resource: "schedule", value }]);
  return value;
}
