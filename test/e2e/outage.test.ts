import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type * as z from "zod";
import { eventPage, permission, session, task } from "../../sdk/protocol/index.ts";
import { listOf, type Api } from "../support/api.ts";
import { eventually } from "../support/eventually.ts";
import { startStack, type Stack } from "../support/stack.ts";

type Events = z.infer<typeof eventPage>["events"];

describe("while parts are gone", () => {
  let stack: Stack;
  let api: Api;
  beforeAll(async () => {
    stack = await startStack({ hosts: [{}] });
    ({ api } = stack);
  });
  afterAll(() => stack.close());

  async function wholeLog(sessionId: string): Promise<Events> {
    const events: Events = [];
    for (let after = 0; ; ) {
      const page = await api.get(`/sessions/${sessionId}/events?after=${after}&limit=200`, eventPage);
      events.push(...page.events);
      after = page.next;
      if (!page.more) return events;
    }
  }
  /** A task that waits for its first and only answer. */
  async function askingTask(prompt: string): Promise<{ id: string; taskId: string; asked: string }> {
    const { id } = await api.post("/sessions", { agent: "example", edit_mode: "session" }, session);
    const { id: taskId } = await api.post(`/sessions/${id}/tasks`, { prompt }, task);
    const asked = await eventually("the agent asks", async () => (await api.get(`/permissions?session_id=${id}&status=pending`, listOf(permission))).items[0]);
    return { id, taskId, asked: asked.id };
  }
  const ended = (taskId: string) =>
    eventually("the task ends", async () => {
      const now = await api.get(`/tasks/${taskId}`, task);
      return ["completed", "failed", "canceled", "timeout"].includes(now.status) ? now : null;
    }, 40_000);

  it("a task goes on over a restart of the control plane, and no event is lost or doubled", async () => {
    const { id, taskId, asked } = await askingTask("carry on");
    const before = await wholeLog(id);
    await stack.controlPlane.kill();
    await api.post(`/permissions/${asked}/approve`, {}, permission);
    expect(await ended(taskId)).toMatchObject({ status: "completed", attempts: 1 });

    const after = await wholeLog(id);
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after.map(({ seq }) => seq)).toEqual(after.map((_, i) => i + 1));
    const messages = after.filter(({ type }) => type === "message").map(({ data }) => JSON.stringify(data));
    expect(new Set(messages).size).toBe(messages.length);
  });

  it("a session goes on while Postgres is down, and its records arrive once it is back", async () => {
    const { id, taskId, asked } = await askingTask("without a database");
    const live = await fetch(`${stack.url}/api/v1/tasks/${taskId}/logs?follow=true`, { headers: { authorization: `Bearer ${stack.apiKey}`, accept: "text/event-stream" } });

    await eventually("the answer is taken while Postgres is down", async () => {
      // A key is believed for five seconds after Postgres was asked for it: see that it has been, then answer.
      stack.postgres.setAvailable(true);
      await api.get(`/sessions/${id}`, session);
      stack.postgres.setAvailable(false);
      return (await api.request("POST", `/permissions/${asked}/approve`, {})).status !== 503;
    });
    let text = "";
    for await (const part of live.body ?? []) {
      text += Buffer.from(part).toString();
      if (text.includes('"status":"completed"')) break;
    }
    expect(text).toContain('"status":"completed"');
    expect((await fetch(`${stack.url}/health/ready`)).status).toBe(503);

    stack.postgres.setAvailable(true);
    await eventually("the list knows how it ended", async () => (await api.get(`/tasks?session_id=${id}`, listOf(task))).items.find((each) => each.id === taskId && each.status === "completed"));
    await ended(taskId);
  });
});
