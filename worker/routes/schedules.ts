/** Owns the routes of schedules: make one with its session, list, read, change, pause, resume, run by hand, delete. */

import { createRoute } from "@hono/zod-openapi";
import { sessionStub } from "../../durable-objects/index.ts";
import { idOf, schedule, scheduleCreate, scheduleDelete, schedulePatch, scheduleStatus, type Schedule as ScheduleValue } from "../../sdk/protocol/index.ts";
import { call } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { creating } from "../middleware/creating.ts";
import { answers, failures, keyed, named, pages, takes } from "../openapi.ts";
import { withDirectory } from "./directories.ts";
import { copied } from "./listing.ts";
import { idParam, labelFilter, listQuery, Task } from "./schemas.ts";
import { makeSchedule, withConfig } from "./scheduled.ts";
import { ownerOf } from "./tasks.ts";

const tags = ["schedules"];
const Schedule = named("Schedule", schedule);
const at = idParam("schedule");
const create = createRoute({
  method: "post", path: "/schedules", tags, ...keyed("write"), summary: "Create a schedule",
  description:
    "Makes a session whose agent gets the same prompt at every time that `cron` names in `timezone`, and which is suspended between its runs. Where clocks change, a time of day that is skipped is due when the gap ends, " +
    "and one that comes twice is due once, at its first. Times that passed while the deployment was down are caught up by one run. A time that comes while the last run has not ended is skipped. The session's log says each (`schedule.run`).",
  request: takes("ScheduleCreate", scheduleCreate), responses: { 201: answers(Schedule, "The schedule"), ...failures("not_found", "conflict", "payload_too_large", "rate_limited") },
});
const list = createRoute({
  method: "get", path: "/schedules", tags, ...keyed("read"), summary: "List schedules",
  request: listQuery({ status: scheduleStatus.exclude(["deleted"]).optional(), session_id: idOf("session").optional(), labels: labelFilter.optional() }),
  responses: { 200: pages(Schedule, "Newest first"), ...failures() },
});
const one = { request: at, responses: { 200: answers(Schedule, "The schedule"), ...failures("not_found", "conflict") } };
const read = createRoute({ method: "get", path: "/schedules/{id}", tags, ...keyed("read"), summary: "Read a schedule", ...one });
const update = createRoute({
  method: "patch", path: "/schedules/{id}", tags, ...keyed("write"), summary: "Change a schedule", description: "Its times, its prompt, or what a failure does. The options of its session are changed with the session.",
  request: { ...at, ...takes("SchedulePatch", schedulePatch) }, responses: { 200: answers(Schedule, "The schedule as it is now"), ...failures("not_found", "conflict", "payload_too_large") },
});
const remove = createRoute({
  method: "delete", path: "/schedules/{id}", tags, ...keyed("write"), summary: "Delete a schedule", description: "Its session is terminated; with `keep_session=true` it stays and lives on demand.",
  request: { ...at, query: scheduleDelete }, responses: { 200: answers(Schedule, "As it was, `deleted`"), ...failures("not_found", "conflict") },
});
const pause = createRoute({ method: "post", path: "/schedules/{id}/pause", tags, ...keyed("write"), summary: "Pause a schedule", description: "A run that is under way goes on.", ...one });
const resume = createRoute({ method: "post", path: "/schedules/{id}/resume", tags, ...keyed("write"), summary: "Resume a schedule", description: "One that is paused or disabled runs again at its next time. Times that passed meanwhile are not caught up.", ...one });
const trigger = createRoute({
  method: "post", path: "/schedules/{id}/trigger", tags, ...keyed("write"), summary: "Run a schedule now", description: "Also where it is paused or disabled; its times stay as they are. Refused while its last run has not ended.",
  request: at, responses: { 201: answers(Task, "The run's task"), ...failures("not_found", "conflict", "rate_limited") },
});

export function scheduleRoutes(app: App): void {
  const stub = (c: Ctx, id: string) => sessionStub(c.env, ownerOf(id));
  const listed = (c: Ctx, value: ScheduleValue) => copied(c, [{ resource: "schedule", value }]);

  app.openapi(create, async (c) => {
    const actor = actorOf(c);
    const input = await withDirectory(c, await withConfig(c, c.req.valid("json")));
    const again = { leaveOut: (made: ScheduleValue) => ({ ...made, prompt: "" }), putBack: (kept: ScheduleValue) => ({ ...kept, prompt: input.prompt }) };
    const made = await creating(c, { owner: actor.tenant_id, scope: actor.key_id, counts: { keyId: actor.key_id, what: "sessions" }, again }, (ids) => makeSchedule(c, ids, input));
    return c.json(made, 201);
  });
  app.openapi(list, async (c) => c.json(await c.get("records").lists.schedules(actorOf(c).tenant_id, c.req.valid("query")), 200));
  app.openapi(read, async (c) => {
    const { id } = c.req.valid("param");
    return c.json(await call(() => stub(c, id).readSchedule(actorOf(c), id)), 200);
  });
  app.openapi(update, async (c) => {
    const { id } = c.req.valid("param");
    const value = await call(() => stub(c, id).updateSchedule(actorOf(c), id, c.req.valid("json")));
    await listed(c, value);
    return c.json(value, 200);
  });
  app.openapi(pause, async (c) => {
    const { id } = c.req.valid("param");
    const value = await call(() => stub(c, id).pauseSchedule(actorOf(c), id));
    await listed(c, value);
    return c.json(value, 200);
  });
  app.openapi(resume, async (c) => {
    const { id } = c.req.valid("param");
    const value = await call(() => stub(c, id).resumeSchedule(actorOf(c), id));
    await listed(c, value);
    return c.json(value, 200);
  });
  app.openapi(trigger, async (c) => {
    const actor = actorOf(c);
    const { id } = c.req.valid("param");
    const made = await creating(c, { owner: actor.tenant_id, scope: actor.key_id, counts: { keyId: actor.key_id, what: "tasks" } }, (ids) => {
      const taskId = ids.child("task", ownerOf(id));
      return call(() => stub(c, id).triggerSchedule(actor, id, taskId));
    });
    return c.json(made, 201);
  });
  app.openapi(remove, async (c) => {
    const { id } = c.req.valid("param");
    const value = await call(() => stub(c, id).deleteSchedule(actorOf(c), id, c.req.valid("query").keep_session === "true"));
    await listed(c, value);
    return c.json(value, 200);
  });
}
