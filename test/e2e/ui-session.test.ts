import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Page } from "playwright-core";
import type { Session } from "../../sdk/index.ts";
import { steps, type Step } from "../support/agents.ts";
import { missingBrowser } from "../support/browser.ts";
import { missingCli } from "../support/clis.ts";
import { dashboardAt, type Dashboard } from "../support/dashboard.ts";
import { eventually } from "../support/eventually.ts";
import { script, startModelServer, type ModelServer } from "../support/model-server/index.ts";
import { startScene, type Scene } from "../support/scene.ts";
import { startTranscriptionServer, type TranscriptionServer } from "../support/transcription-server.ts";
import { imagesAndVoice, MICROPHONE } from "./ui-voice.ts";

const ASK = (command = "curl https://example.org"): Step => ["ask", "Bash", { command }];

const missing = missingBrowser();
describe.skipIf(missing !== null)(`a session's page${missing === null ? "" : ` (${missing})`}`, () => {
  let scene: Scene;
  let model: ModelServer;
  let server: TranscriptionServer;
  let dashboard: Dashboard;
  beforeAll(async () => {
    server = await startTranscriptionServer("into the box");
    [scene, model] = await Promise.all([startScene({ voice: { url: server.url, language: "en" } }), startModelServer()]);
    dashboard = await dashboardAt(scene.stack.url, scene.stack.apiKey, MICROPHONE);
  });
  afterEach(async () => {
    await dashboard.clear();
    expect(dashboard.faults()).toEqual([]);
  });
  afterAll(async () => {
    await dashboard?.close();
    await scene?.close();
    await model?.close();
    await server?.close();
  });

  const transcript = (page: Page) => page.getByRole("log", { name: "What happened in this session" });
  const says = (page: Page, text: string | RegExp) => transcript(page).locator(".item-message", { hasText: text });
  const send = async (page: Page, prompt: string) => {
    await page.getByLabel("Prompt").fill(prompt);
    await page.getByLabel("Prompt").press("Enter");
  };
  async function opened(...todo: Step[]): Promise<{ session: Session; page: Page }> {
    const session = await scene.session();
    if (todo.length > 0) await scene.task(session, steps(...todo));
    return { session, page: await dashboard.visit(`/sessions/${session.id}`) };
  }
  const now = (session: Session) => scene.client.sessions.get(session.id);

  it("launches from the form, shows what the agent does, and is answered", async () => {
    const { id: workspace_id } = await scene.client.workspaces.create({ name: "Shared files" });
    const page = await dashboard.visit("/");
    await page.getByRole("button", { name: "Launch an agent" }).click();
    await page.getByRole("combobox", { name: "Agent", exact: true }).selectOption("scripted");
    await page.getByLabel("Prompt").fill(steps(["text", "I am here."], ["ask", "Bash", { command: "npm test" }], ASK(), ["write", "note.txt", "noted"], ["text", "All done."]));
    await page.getByText("More", { exact: true }).click();
    await page.getByLabel("Name").fill("From the form");
    await page.getByLabel("Labels").fill("team: web");
    await page.getByLabel("Budget in dollars").fill("2.5");
    await page.getByLabel("Budget in tokens").fill("90000");
    await page.getByRole("combobox", { name: "Works on" }).selectOption("workspace");
    await page.getByRole("combobox", { name: "Workspace", exact: true }).selectOption(workspace_id);
    await page.getByRole("button", { name: "Add a rule" }).click();
    await page.getByLabel("Pattern of rule 1").fill("npm *");
    await page.getByRole("combobox", { name: "When idle" }).selectOption("always_on");
    await page.getByRole("button", { name: "Keep these settings" }).click();
    await page.getByLabel("Name of the profile").fill("web team");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Launch", exact: true }).click();
    await page.getByRole("heading", { name: "From the form" }).waitFor();
    await says(page, "I am here.").waitFor();
    await page.getByText("$0 of $2.50, $2.50 left").waitFor();
    const question = transcript(page).getByLabel("Waiting for you");
    await question.getByText("curl https://example.org", { exact: true }).waitFor();
    await question.getByRole("button", { name: "Approve" }).click();
    // The first by the rule, without a question.
    await says(page, "Bash: approved").nth(1).waitFor();
    await transcript(page).locator(".item-tool .item-summary", { hasText: /^npm test$/ }).waitFor();
    await says(page, "All done.").waitFor();
    await transcript(page).locator(".item-answered", { hasText: "approved" }).waitFor();
    const [made] = (await scene.client.sessions.list({ labels: { team: "web" } })).items;
    expect(made).toMatchObject({ name: "From the form", lifecycle_mode: "always_on", workspace_id, rules: [{ tool: "Bash", pattern: "npm *", verdict: "allow" }], budget: { max_cost_usd: 2.5, max_tokens: 90_000 } });
    await page.goto("/");
    await page.getByRole("button", { name: "Launch an agent" }).click();
    await page.getByRole("combobox", { name: "Profile" }).selectOption("web team");
    expect(await page.getByLabel("Budget in tokens").inputValue()).toBe("90000");
  });

  it("denies with a reason that the agent reads", async () => {
    const { page } = await opened(ASK());
    await page.getByRole("button", { name: "Deny …" }).click();
    await page.getByLabel(/Why not/).fill("not on a Friday");
    await page.getByRole("button", { name: "Deny", exact: true }).click();
    await says(page, "Bash: denied: not on a Friday").waitFor();
  });

  it("approves calls of a kind for the turn, and for the session", async () => {
    const { page } = await opened(ASK(), ASK(), ["text", "The turn is over."]);
    const question = transcript(page).getByLabel("Waiting for you");
    await question.getByRole("button", { name: "For the turn" }).click();
    await says(page, "The turn is over.").waitFor();
    await send(page, steps(ASK(), ["text", "The next is over."]));
    await question.getByRole("button", { name: "For the session" }).click();
    await says(page, "The next is over.").waitFor();
    await send(page, steps(ASK(), ["text", "Not asked again."]));
    await says(page, "Not asked again.").waitFor();
    expect(await transcript(page).locator(".item-answered").count()).toBe(2);
    await page.locator(".session-side").getByRole("button", { name: "Take back" }).click();
    await page.locator(".session-side").getByRole("heading", { name: "Approved" }).waitFor({ state: "detached" });
    await send(page, steps(ASK()));
    await question.getByRole("button", { name: "Approve" }).click();
  });

  it("tells of a question by a notification where the tab is hidden, and only there", async () => {
    const page = await dashboard.visit("/");
    // The browser's own, as far as a page can see: nothing is shown on a test machine.
    await page.addInitScript(`{
      window.told = [];
      Object.defineProperty(document, "hidden", { get: () => window.away === true });
      window.Notification = class extends EventTarget { static permission = "granted"; constructor(title, options) { super(); window.told.push({ title, ...options }); window.last = this; } };
    }`);
    await page.goto("/inbox");
    await page.locator(".connection.live").waitFor();
    const session = await scene.session({ name: "Seen" });
    const seen = await scene.asked(await scene.task(session, steps(ASK())));
    await page.locator(`#${seen.id}`).waitFor();
    expect(await page.evaluate("window.told")).toEqual([]);
    await page.evaluate("window.away = true");
    const hidden = await scene.session({ name: "Unseen" });
    const asked = await scene.asked(await scene.task(hidden, steps(ASK("curl https://example.com/unseen"))));
    await expect.poll(() => page.evaluate("window.told")).toEqual([expect.objectContaining({ title: "Bash waits for you", body: "curl https://example.com/unseen", tag: asked.id })]);
    await page.evaluate('window.last.dispatchEvent(new Event("click"))');
    await page.waitForURL(`**/inbox#${asked.id}`);
    await page.locator(`#${asked.id}`).waitFor();
  });

  it("marks where something was missed", async () => {
    const session = await scene.session();
    const page = await dashboard.visit("/");
    // One frame of the log never arrives.
    await page.routeWebSocket(/\/events/, (socket) => {
      const real = socket.connectToServer();
      real.onMessage((frame) => {
        if (!String(frame).includes('"text":"Lost word."')) socket.send(frame);
      });
    });
    await page.goto(`/sessions/${session.id}`);
    await transcript(page).waitFor();
    await send(page, steps(["text", "First word."], ASK(), ["text", "Lost word."], ["sleep", 1_500], ["text", "Last word."]));
    await page.getByRole("button", { name: "Approve" }).click();
    await says(page, "Last word.").waitFor();
    await transcript(page).getByText(/^Events \d+ to \d+ are missing here/).waitFor();
    expect(await says(page, "Lost word.").count()).toBe(0);
  });

  it("lets edits through for as long as someone says", async () => {
    const session = await scene.session();
    const page = await dashboard.visit(`/sessions/${session.id}`);
    await page.getByRole("combobox", { name: "Edits" }).selectOption("session");
    await eventually("it is set", async () => (await now(session)).edit_mode === "session");
    await send(page, steps(["ask", "Write", { file_path: "x.txt", content: "x" }]));
    await says(page, "Write: approved").waitFor();
    await page.getByRole("combobox", { name: "Edits" }).selectOption("off");
    await eventually("it is set", async () => (await now(session)).edit_mode === "off");
    await send(page, steps(["ask", "Write", { file_path: "y.txt", content: "y" }]));
    await transcript(page).getByLabel("Waiting for you").waitFor();
  });

  it("queues what is written while a task runs, and cancels the task", async () => {
    const { page } = await opened(["text", "Busy."], ["sleep", 600_000]);
    await says(page, "Busy.").waitFor();
    await page.getByLabel("Prompt").fill(steps(["text", "I was next."]));
    await page.getByRole("button", { name: "Queue" }).click();
    await page.getByText("1 in the queue").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await transcript(page).getByText(/^Task canceled/).waitFor();
    await says(page, "I was next.").waitFor();
  });

  it("suspends, resumes and forks", async () => {
    const { session, page } = await opened(["write", "kept.txt", "kept"], ["text", "Kept."]);
    await says(page, "Kept.").waitFor();
    await eventually("a state is kept", async () => (await now(session)).capsule_id !== null);
    await page.getByRole("button", { name: "Suspend" }).click();
    await page.locator(".session-head .badge", { hasText: "Suspended" }).waitFor();
    await page.locator(".session-side").getByText("someone asked").waitFor();
    await page.getByText("Kept states").click();
    await page.locator(".session-side").getByText(/event \d+ · 1 files/).first().waitFor();
    await page.getByRole("button", { name: "Resume" }).click();
    await page.getByRole("button", { name: "Suspend" }).waitFor();
    await page.getByRole("button", { name: "Fork" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Fork", exact: true }).click();
    await page.getByRole("heading", { name: /\(fork\)/ }).waitFor();
    await send(page, steps(["text", "I am the fork."]));
    await says(page, "I am the fork.").waitFor();
    await page.getByRole("button", { name: "Files" }).click();
    await page.getByText("kept.txt").waitFor();
  });

  it("asks for the session's own model key where it resumes, and takes another at any time", async () => {
    const session = await scene.session({ api_key: "sk-first-0123456789" });
    await scene.end(await scene.task(session, steps(["text", "First."])));
    const page = await dashboard.visit(`/sessions/${session.id}`);
    await page.getByRole("button", { name: "Suspend" }).click();
    await page.getByRole("button", { name: "Resume" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Model key").fill("sk-second-0123456789");
    await dialog.getByRole("button", { name: "Resume" }).click();
    await page.getByRole("button", { name: "Suspend" }).waitFor();
    await send(page, steps(["text", "Second."]));
    await says(page, "Second.").waitFor();
    await page.locator(".session-side").getByRole("button", { name: "Give another …" }).click();
    await dialog.getByLabel("Model key").fill("sk-third-0123456789");
    await page.keyboard.press("Enter");
    await dialog.waitFor({ state: "detached" });
    await send(page, steps(["text", "Third."]));
    await says(page, "Third.").waitFor();
    expect(JSON.stringify(await scene.client.sessions.get(session.id))).not.toContain("sk-");
  });

  it("shows in one browser what another has answered", async () => {
    const { session, page } = await opened(ASK());
    const other = await dashboard.visit(`/sessions/${session.id}`);
    const inbox = await dashboard.visit("/inbox");
    for (const each of [page, other]) await each.getByLabel("Waiting for you").waitFor();
    await inbox.locator(".request").filter({ has: inbox.locator(`a[href="/sessions/${session.id}"]`) }).waitFor();
    await other.getByRole("button", { name: "Approve" }).click();
    await page.locator(".item-answered", { hasText: "approved" }).waitFor();
    await inbox.locator(".request").filter({ has: inbox.locator(`a[href="/sessions/${session.id}"]`) }).waitFor({ state: "detached" });
    await says(page, "Bash: approved").waitFor();
  });

  it("has the same to show after it was loaded again in the middle", async () => {
    const { page } = await opened(...Array.from({ length: 30 }, (_, i): Step => ["text", `word ${i}.`]), ASK(), ["text", "The end."]);
    await page.getByLabel("Waiting for you").waitFor();
    await page.reload();
    await page.getByLabel("Waiting for you").waitFor();
    await page.getByRole("button", { name: "Approve" }).click();
    await says(page, "The end.").waitFor();
    expect(await transcript(page).locator(".item-message", { hasText: "The end." }).count()).toBe(1);
    await expect.poll(() => transcript(page).locator(".item-message", { hasText: /^word 29\.$/ }).count()).toBe(1);
  });

  it("goes on over a restart of the server, without a gap and nothing twice", async () => {
    const { session, page } = await opened(["text", "Before."], ASK(), ["text", "After."]);
    await page.getByLabel("Waiting for you").waitFor();
    dashboard.allow(/WebSocket connection|ERR_CONNECTION|ERR_EMPTY|50\d/);
    await scene.stack.controlPlane.kill();
    await scene.client.permissions.approve((await scene.client.permissions.list({ session_id: session.id, status: "pending" })).items[0]?.id ?? "");
    await says(page, "After.").waitFor();
    for (const text of ["Before.", "After."]) expect(await says(page, text).count()).toBe(1);
    expect(await transcript(page).getByText("are missing here").count()).toBe(0);
    await expect.poll(() => page.locator(".connection").textContent()).toBe("Live");
  });

  it("shows what is hostile as text, in the transcript, in the terminal and in the inbox", async () => {
    const html = '<img src=x onerror="window.stolen=1"><script>window.stolen=1</script><a href="javascript:window.stolen=1">click</a>';
    const escapes = "\u001b]8;;https://evil.example\u0007link\u001b]8;;\u0007\u001b]52;c;c3RvbGVu\u0007\u001b]0;stolen title\u0007\u001b[5n\u001b[31mred\u001b[0m";
    const { page } = await opened(
      ["record", { type: "message", text: `${html} \u202egnp.exe` }], ["record", { type: "thinking", text: html }],
      ["record", { type: "tool.call", call_id: "a", tool: html, input: { command: html }, summary: html }], ["record", { type: "tool.result", call_id: "a", output: `${html}${escapes}${"z".repeat(700_000)}` }],
      ["record", { type: "file.changed", path: html, change: "modified", diff: `@@ -1 +1 @@\n-${html}\n+${html}` }], ["raw", `${html}${escapes}`], ["spam", 3_000_000], ["text", "Still here."], ASK(`echo '${html}' \u202e`),
    );
    await page.getByLabel("Waiting for you").waitFor();
    expect(await page.getByLabel("Waiting for you").locator("pre").first().textContent()).toContain("‹U+202E›");
    // What was before is read as someone scrolls up to it.
    await expect.poll(async () => {
      await page.evaluate("document.querySelector('.virtual-scroller').scrollTo(0, 0)");
      return page.getByText("‹U+202E›gnp.exe").count();
    }, { interval: 200 }).toBeGreaterThan(0);
    for (const tag of ["img", "script", "a[href^=javascript]"]) expect(await transcript(page).locator(tag).count(), `${tag}`).toBe(0);
    await page.getByRole("button", { name: "Terminal" }).click();
    await page.locator(".xterm-rows").waitFor();
    await page.goto("/inbox");
    await page.locator(".request").first().waitFor();
    expect(await page.evaluate("window.stolen")).toBeUndefined();
    expect(await page.title()).toBe("Marionette");
  });

  const noClaude = missingCli("claude");
  it.skipIf(noClaude !== null)(`runs the real Claude Code through the gateway: watch, approve, see what it cost, raise its cap${noClaude === null ? "" : ` (${noClaude})`}`, async () => {
    await scene.client.agentConfigs.create({ name: "dash", api: "anthropic", key: "sk-ant-dash-only-00112233", model: "claude-sonnet-4-5", base_url: model.anthropic });
    const page = await dashboard.visit("/");
    await page.getByRole("button", { name: "Launch an agent" }).click();
    await page.getByRole("combobox", { name: "Agent", exact: true }).selectOption("claude");
    await page.getByLabel("Prompt").fill(script([{ text: "I will write it down.", calls: [{ tool: "Bash", input: { command: "echo marzipan > note.txt" } }] }, { text: "It is written." }], "Note it"));
    await page.getByText("More", { exact: true }).click();
    await page.getByRole("combobox", { name: "Agent config" }).selectOption({ label: "dash: claude-sonnet-4-5" });
    await page.getByRole("button", { name: "Launch", exact: true }).click();
    await page.getByLabel("Waiting for you").getByRole("button", { name: "Approve" }).click();
    await says(page, "It is written.").waitFor();
    await expect.poll(() => page.locator(".session-side").getByText(/^\$0\.\d+$/).count()).toBeGreaterThan(0);
    await page.getByRole("button", { name: "Files" }).click();
    await page.getByRole("button", { name: /note\.txt/ }).click();
    await page.locator(".code-text", { hasText: "marzipan" }).waitFor();

    await page.goto("/costs");
    await page.getByText("Spent over time").waitFor();
    await page.getByRole("rowheader", { name: /claude-sonnet-4-5/ }).waitFor();
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "CSV" }).click();
    expect((await download).suggestedFilename()).toBe("usage-by-model.csv");

    const poor = await scene.session({ agent: "claude", agent_config: "dash", budget: { max_tokens: 10 } });
    const spending = await scene.task(poor, script([{ text: "Rich again." }], `Spend (${poor.id})`));
    await page.goto(`/sessions/${poor.id}`);
    await page.getByLabel("New cap in tokens").fill("10000000");
    await page.getByRole("button", { name: "Raise the cap" }).click();
    // The CLI tries again in its own time.
    expect(await scene.end(spending)).toMatchObject({ status: "completed" });
    await says(page, "Rich again.").waitFor();
    await page.locator(".session-side").getByText(/of 10\.0M tokens/).waitFor();
  }, 300_000);

  imagesAndVoice(() => ({ scene, dashboard, server }));
});
