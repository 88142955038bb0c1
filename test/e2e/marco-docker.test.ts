import Docker from "dockerode";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { script, startModelServer, type ModelServer } from "../support/model-server/index.ts";
import { of, startScene, type Scene } from "../support/scene.ts";

const engine = new Docker();
const unavailable = await engine.ping().then(
  () => engine.getImage("marionette-runner:latest").inspect().then(() => null, () => "the image marionette-runner:latest is missing: npm run image"),
  () => "no Docker engine answers (Debian, Ubuntu: apt-get install docker.io)",
);

describe.skipIf(unavailable !== null)(`marco in a container${unavailable === null ? "" : ` (${unavailable})`}`, () => {
  let scene: Scene;
  let model: ModelServer;
  beforeAll(async () => {
    [scene, model] = await Promise.all([startScene({ providers: { default: "docker", docker: { resources: { memory: "512m", cpus: 1, pids: 128 } } } }), startModelServer()]);
  });
  afterAll(async () => {
    await scene.close();
    await model.close();
  });

  it("does its task through the gateway, is asked, is suspended with its question, and goes on in another container", async () => {
    const session = await scene.session({ agent: "marco", base_url: model.anthropic, api_key: "sk-ant-marco-docker" });
    const steps = [
      { calls: [{ tool: "write_file", input: { path: "/workspace/greet.sh", content: "id -u; echo \"hello ${ANTHROPIC_API_KEY:-without a key}\"\n" } }] },
      { calls: [{ tool: "exec", input: { command: "curl --version; sh greet.sh | tee said.txt" } }] },
      { text: "It greets." },
    ];
    const task = await scene.task(session, script(steps, `Greet (${session.id})`));
    await scene.client.permissions.approve((await scene.asked(task)).id);
    const second = await scene.asked(task, 2);
    const { runner } = await scene.client.sessions.get(session.id);
    expect(runner).toMatchObject({ provider: "docker", sandbox: "docker" });
    expect(JSON.stringify((await engine.getContainer(`marionette-${runner?.id}`).inspect()).Config)).not.toContain("sk-ant-marco-docker");
    await scene.client.sessions.suspend(session.id, { strategy: "terminate" });
    await eventually("it is suspended", async () => (await scene.client.sessions.get(session.id)).status === "suspended");
    // A session's own key ends with its runner, and is given to the next.
    await scene.client.sessions.resume(session.id, { api_key: "sk-ant-marco-docker" });
    await scene.client.permissions.approve(second.id);

    expect(await scene.end(task)).toMatchObject({ status: "completed", result: "It greets.", attempts: 2 });
    const log = await scene.log(task);
    expect(of(log, "tool.call").map(({ tool }) => tool).filter((tool) => tool === "write_file")).toHaveLength(1);
    expect(of(log, "permission.requested")).toHaveLength(2);
    // Counted behind the stream: the last call's may come after the task's end.
    await eventually("the gateway has counted every call", async () => of(await scene.log(task), "usage").filter(({ source }) => source === "gateway").length === 3);
    expect(await scene.client.sessions.files.text(session.id, "said.txt")).toMatch(/^[1-9]\d*\nhello without a key\n$/);
    expect(model.asked("anthropic").at(-1)?.headers["x-api-key"]).toBe("sk-ant-marco-docker");
    await scene.client.sessions.terminate(session.id);
    await eventually("no container is left", async () => (await engine.listContainers({ all: true, filters: { label: [`marionette.session=${session.id}`] } })).length === 0);
  });
});
