import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CLIS, missingCli } from "../../test/support/clis.ts";
import { directories, stage, type StageOptions } from "../../test/support/adapter-context.ts";
import { script, startModelServer, type ModelServer, type StepInput } from "../../test/support/model-server/index.ts";
import { acp } from "./acp.ts";

const missing = missingCli("codex-acp") ?? missingCli("codex");

describe.skipIf(missing !== null)(`acp against the real codex-acp${missing === null ? "" : ` (${missing})`}`, { timeout: 60_000 }, () => {
  let model: ModelServer;
  let dirs: ReturnType<typeof directories>;
  beforeAll(async () => {
    model = await startModelServer();
    dirs = directories();
    mkdirSync(join(dirs.home, ".codex"));
    const provider = `model_provider = "test"\n[model_providers.test]\nname = "test"\nbase_url = "${model.openai}"\nwire_api = "responses"\nenv_key = "OPENAI_API_KEY"\n`;
    writeFileSync(join(dirs.home, ".codex/config.toml"), provider);
  });
  afterAll(async () => {
    await model.close();
    dirs[Symbol.dispose]();
  });
  const on = (steps: StepInput[] | string, more: Partial<StageOptions> = {}) =>
    stage({
      launch: { name: "codex-acp", adapter: "acp", binary: process.execPath, args: [CLIS["codex-acp"]] },
      prompt: typeof steps === "string" ? steps : script(steps),
      ...dirs,
      env: { CODEX_PATH: CLIS.codex, INITIAL_AGENT_MODE: "read-only", NO_BROWSER: "1" },
      ...more,
    });
  const patch = "*** Begin Patch\n*** Add File: note.txt\n+one\n*** End Patch\n";

  it("asks for a patch once, tells of it, and goes on in the next task", async () => {
    const first = on([{ text: "Writing.", calls: [{ tool: "apply_patch", input: patch }] }, { text: "All done." }]);
    const outcome = await acp.run(first.context);
    expect(outcome).toMatchObject({ status: "completed", result: "All done." });
    expect(first.asked.map(({ tool, input }) => [tool, (input as { paths?: string[] }).paths])).toEqual([["edit", ["note.txt"]]]);
    expect(first.of("file.changed")).toMatchObject([{ path: "note.txt", change: "created" }]);
    expect(first.of("message").map(({ text }) => text)).toEqual(["Writing.", "All done."]);
    const second = on("What did I say before?", { conversation: outcome.conversation });
    expect(await acp.run(second.context)).toMatchObject({ status: "completed", result: "Heard: What did I say before?" });
    expect(JSON.stringify(model.asked().at(-1)?.body)).toContain("All done.");
    expect(second.of("message")).toHaveLength(1);
  });

  it("tells the agent why a patch was denied", async () => {
    const denied = patch.replace("note", "denied");
    const task = on([{ calls: [{ tool: "apply_patch", input: denied }] }, { text: "Understood." }], { gate: () => ({ allow: false, reason: "not before lunch" }) });
    expect(await acp.run(task.context)).toMatchObject({ status: "completed" });
    expect(JSON.stringify(model.asked().at(-1)?.body)).toContain("not before lunch");
    expect(existsSync(join(dirs.workspace, "denied.txt"))).toBe(false);
  });
});
