import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Session, SessionCreateParams } from "../../sdk/index.ts";
import { acpScript } from "../support/acp-agent.ts";
import { steps } from "../support/agents.ts";
import { missingCli } from "../support/clis.ts";
import { noisePng } from "../support/images.ts";
import { script, startModelServer, type Api, type ModelServer } from "../support/model-server/index.ts";
import { of, startScene, type Scene } from "../support/scene.ts";

let scene: Scene;
let model: ModelServer;
beforeAll(async () => {
  [scene, model] = await Promise.all([startScene(), startModelServer()]);
});
afterAll(async () => {
  await scene.close();
  await model.close();
});

const send = (session: Session, bytes: Uint8Array<ArrayBuffer>, name = "shot.png") => scene.client.sessions.attachments.create(session.id, { bytes, media_type: "image/png", name });
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");

const AGENTS = {
  claude: { cli: "claude", api: "anthropic", base: () => model.anthropic, model: "claude-sonnet-4-5" },
  codex: { cli: "codex", api: "responses", base: () => model.openai, model: "gpt-5-codex" },
  marco: { cli: null, api: "anthropic", base: () => model.anthropic, model: "claude-sonnet-4-5" },
} as const satisfies Record<string, { cli: "claude" | "codex" | null; api: Api; base: () => string; model: string }>;

describe.each(["claude", "codex", "marco"] as const)("the real %s", (agent) => {
  const { cli, api, base } = AGENTS[agent];
  const missing = cli && missingCli(cli);
  const start = (more: Partial<SessionCreateParams> = {}) => scene.session({ agent, base_url: base(), api_key: "sk-test-only-images", model: AGENTS[agent].model, ...more });
  /** Bodies of the model's requests in this session. */
  const asked = (session: Session) => model.asked(api).map(({ body }) => JSON.stringify(body)).filter((body) => body.includes(session.id));

  it.skipIf(missing !== null)("is shown the images of its prompt, can read them where they lie, and still knows them in the next task", async () => {
    const session = await start();
    const [first, second] = [noisePng(), noisePng()];
    const images = [await send(session, first), await send(session, second, "second one.png")];
    const task = await scene.task(session, script([{ text: "I see them." }], `What is this? (${session.id})`), { attachments: images.map(({ id }) => id) });
    expect(task.attachments).toEqual(images);
    expect(await scene.end(task)).toMatchObject({ status: "completed", result: "I see them." });
    const body = asked(session).at(-1) ?? "";
    for (const shot of [first, second]) expect(body.includes(base64(shot)), "the image is in the model's request").toBe(true);
    expect(body).toContain(`.marionette/attachments/${images[1]?.id}-second-one.png`);
    expect(of(await scene.log(task), "task.created")).toEqual([expect.objectContaining({ attachments: images })]);
    expect(await scene.client.sessions.files.read(session.id, `.marionette/attachments/${images[0]?.id}-shot.png`)).toEqual(Uint8Array.from(first));

    const next = await scene.task(session, script([{ text: "The same." }], `And now? (${session.id})`));
    expect(await scene.end(next)).toMatchObject({ status: "completed" });
    expect((asked(session).at(-1) ?? "").includes(base64(first))).toBe(true);
  });
});

describe("other agents", () => {
  it("of the custom protocol get the paths in their task", async () => {
    const session = await scene.session();
    const shot = noisePng();
    const image = await send(session, shot);
    const task = await scene.end(await scene.task(session, steps(["attachments"]), { attachments: [image.id] }));
    expect(task).toMatchObject({ status: "completed" });
    const [told] = JSON.parse(task.result ?? "[]") as { path: string; name: string; media_type: string; size: number }[];
    expect(told).toMatchObject({ name: "shot.png", media_type: "image/png", size: shot.length, path: expect.stringMatching(/\/\.marionette\/attachments\/att_/) as unknown });
  });

  it("of the Agent Client Protocol get them as blocks where they say that they see images", async () => {
    const session = await scene.session({ agent: "scripted-acp" });
    const shot = noisePng();
    const image = await send(session, shot);
    const task = await scene.end(await scene.task(session, acpScript([{ look: true }]), { attachments: [image.id] }));
    expect(task).toMatchObject({ status: "completed", result: expect.stringContaining(`image/png ${base64(shot).length}`) as unknown });
  });
});
