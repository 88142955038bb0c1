import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type * as z from "zod";
import { eventPage, permission, session, task } from "../../sdk/protocol/index.ts";
import { staleRows, verdictOn } from "../chaos/invariants.ts";
import { subject } from "../chaos/subject.ts";
import { listOf, type Api } from "../support/api.ts";
import { lineHostArgs, patientClient } from "../support/chaos.ts";
import { eventually } from "../support/eventually.ts";
import { startStack, type Stack } from "../support/stack.ts";

/** How long Postgres is away under load; `OUTAGE_SECONDS=60` for the whole minute. */
const OUTAGE_MS = Number(process.env["OUTAGE_SECONDS"] ?? 8) * 1_000;

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
    });

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

  it("with Postgres gone for a while under load, sessions do not notice, what needs it says when to come again, and afterwards every row is right", async () => {
    const dir = await mkdtemp(join(tmpdir(), "marionette-outage-"));
    try {
      await stack.host({ pool: "load", args: await lineHostArgs(dir), env: { PATH: process.env["PATH"] ?? "" } });
      const client = patientClient(stack);
      const subjects = await Promise.all(Array.from({ length: 6 }, () => subject(stack, client, { pool: "load" })));
      let over = false;
      // Nobody is asked: an answer needs a key, and a key that is not believed yet needs the database.
      const driven = Promise.all(subjects.map((each) => each.drive({ lines: 400, ms: 10, ask: false }, () => over)));
      await eventually("all work", () => subjects.every((each) => each.running() !== null), 60_000);

      stack.postgres.setAvailable(false);
      const gone = Date.now() + OUTAGE_MS;
      const refused = await api.request("GET", "/sessions");
      expect(refused).toMatchObject({ status: 503, body: { error: { code: "unavailable" } } });
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
      for (let turn = 0; Date.now() < gone; turn++) {
        const before = subjects.map(({ socket }) => socket.events.length);
        await eventually(`every session that works goes on (${turn})`, () => subjects.every((each, i) => each.running() === null || each.socket.events.length > (before[i] ?? 0)));
        await delay(500);
      }
      const known = await api.request("GET", "/sessions");
      expect([known.status, Number(known.headers.get("retry-after")) > 0]).toEqual([503, true]);
      stack.postgres.setAvailable(true);

      over = true;
      await driven;
      expect(await staleRows(client, subjects.map(({ session: { id } }) => id), 60_000)).toEqual([]);
      const verdicts = await Promise.all(subjects.map((each) => verdictOn(client, each, 400)));
      expect(verdicts.flatMap(({ broken }) => broken)).toEqual([]);
      // Nothing was tried again because of it.
      expect(new Set(verdicts.flatMap(({ runs }) => runs.map(({ status }) => status)))).toEqual(new Set(["completed"]));
      expect(await staleRows(client, subjects.map(({ session: { id } }) => id), 60_000)).toEqual([]);
    } finally {
      stack.postgres.setAvailable(true);
      await rm(dir, { recursive: true, force: true, maxRetries: 10 });
    }
  }, OUTAGE_MS + 180_000);
});
