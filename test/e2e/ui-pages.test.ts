import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Page } from "playwright-core";
import { steps } from "../support/agents.ts";
import { missingBrowser } from "../support/browser.ts";
import { dashboardAt, overflowOf, violationsOf, type Dashboard } from "../support/dashboard.ts";
import { eventually } from "../support/eventually.ts";
import { startShown, type Shown } from "../screenshots/stage.ts";

const missing = missingBrowser();
describe.skipIf(missing !== null)(`the pages of the dashboard${missing === null ? "" : ` (${missing})`}`, () => {
  let shown: Shown;
  let dashboard: Dashboard;
  let nobody: string;
  beforeAll(async () => {
    shown = await startShown();
    ({ apiKey: nobody } = await shown.scene.stack.tenant("nobody"));
    dashboard = await dashboardAt(shown.scene.stack.url, shown.scene.stack.apiKey);
  });
  afterEach(async () => {
    await dashboard.clear();
    expect(dashboard.faults()).toEqual([]);
  });
  afterAll(async () => {
    await dashboard?.close();
    await shown?.close();
  });

  const PAGES = ["/", "/inbox", "/files", "/costs", "/schedules", "/settings/agents", "/settings/hosts", "/settings/keys", "/settings/runner-tokens", "/settings/rules", "/settings/budgets", "/settings/prices", "/settings/voice"];
  const settled = async (page: Page) => {
    await page.locator("h1").first().waitFor();
    await page.locator(".waiting").waitFor({ state: "detached" });
  };
  /** Everything is looked at wide and light, and narrow and dark; of the other two, what may differ. */
  const LOOKS: readonly { colorScheme: "light" | "dark"; width: number; rules?: readonly string[] }[] = [
    { colorScheme: "light", width: 1280 }, { colorScheme: "dark", width: 1280, rules: ["color-contrast"] }, { colorScheme: "light", width: 360, rules: ["color-contrast"] }, { colorScheme: "dark", width: 360 },
  ];
  it("have nothing that axe would mend, in light and dark, wide and narrow, busy and empty", async () => {
    const found: string[] = [];
    const check = async (page: Page, name: string, looks = LOOKS) => {
      await settled(page);
      for (const { colorScheme, width, rules } of looks) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 800 });
        for (const each of await violationsOf(page, rules)) found.push(`${name}, ${colorScheme}, ${width}: ${each}`);
        const over = await overflowOf(page);
        if (over > 0) found.push(`${name}, ${width}: ${over} pixels too wide`);
      }
    };
    const page = await dashboard.visit("/");
    for (const path of PAGES) {
      await page.goto(path);
      await check(page, path);
    }
    for (const { id } of [shown.busy, shown.waiting, shown.suspended]) {
      await page.goto(`/sessions/${id}`);
      await page.getByRole("log").waitFor();
      await check(page, `session ${id}`);
    }
    await page.goto(`/sessions/${shown.busy.id}`);
    // It is narrow by now, and has a view that a wide page has beside the others.
    for (const view of ["Terminal", "Files", "About"]) {
      await page.getByRole("group", { name: "View" }).getByRole("button", { name: view }).click();
      await check(page, view, view === "About" ? LOOKS.filter(({ width }) => width === 360) : LOOKS);
    }
    await page.goto("/");
    await page.getByRole("button", { name: "Launch an agent" }).click();
    await page.getByText("More", { exact: true }).click();
    await page.getByRole("button", { name: "Add a rule" }).click();
    await check(page, "launch");
    await page.goto("/schedules");
    await page.getByRole("button", { name: "New schedule" }).click();
    await check(page, "new schedule");
    const empty = await dashboard.visit("/", { key: nobody });
    for (const path of ["/", "/inbox", "/files", "/costs", "/schedules", "/hosts", "/settings/agents"]) {
      await empty.goto(path);
      await check(empty, `empty ${path}`);
    }
    expect(found).toEqual([]);
  }, 300_000);

  it("are no wider than they may be, whatever is written in them", async () => {
    const word = "Unbroken".repeat(60);
    const [plan, rtl] = [[{ text: word, status: "in_progress" }], "مرحبا بالعالم שלום"];
    const session = await shown.scene.session({ name: word.slice(0, 120), labels: { team: word.slice(0, 60) } });
    const edit = { file_path: `/workspace/${"d/".repeat(100)}x.ts`, old_string: word, new_string: rtl };
    await shown.scene.task(session, steps(["text", `${word} ${rtl}\n\n\`\`\`\n${`${word}\n`.repeat(40)}\`\`\``], ["record", { type: "progress", text: word }], ["record", { type: "plan", items: plan }], ["ask", "Edit", edit]));
    await eventually("it waits", async () => (await shown.scene.client.sessions.get(session.id)).pending_permissions > 0);
    const page = await dashboard.visit("/");
    const found: string[] = [];
    for (const path of ["/", "/inbox", `/sessions/${session.id}`]) {
      await page.goto(path);
      await settled(page);
      await page.getByText("Unbroken").first().waitFor();
      for (const width of [360, 1280]) {
        await page.setViewportSize({ width, height: 800 });
        const over = await page.evaluate<string[]>("[...document.querySelectorAll('html, .session-card, .session-side, .request, .item, .item-permission')].filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.className || e.tagName)");
        found.push(...[...over, ...(await violationsOf(page))].map((each) => `${path}, ${width}: ${each}`));
      }
    }
    await shown.scene.client.sessions.terminate(session.id);
    expect(found).toEqual([]);
  });

  it("can be walked through and worked with by keyboard alone: the inbox", async () => {
    const { client } = shown.scene;
    const session = await shown.scene.session({ name: "Keys" });
    await shown.scene.task(session, steps(["asks", 4, "Bash"]));
    const waiting = await eventually("all wait", async () => {
      const { items } = await client.permissions.list({ session_id: session.id, status: "pending" });
      return items.length === 4 ? items.map(({ id }) => id).sort() : null;
    });
    const page = await dashboard.visit("/inbox");
    await page.locator(`#${waiting[3]}`).waitFor();
    const active = () => page.locator(".request.active").getAttribute("id");
    while ((await active()) !== waiting[0]) await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("k");
    expect(await active()).toBe(waiting[0]);
    await page.keyboard.press("a");
    await page.locator(`#${waiting[0]}`).waitFor({ state: "detached" });
    expect(await active()).toBe(waiting[1]);
    await page.keyboard.press("d");
    await page.keyboard.type("not this one");
    await page.keyboard.press("Enter");
    await page.locator(`#${waiting[1]}`).waitFor({ state: "detached" });
    while ((await active()) !== waiting[2]) await page.keyboard.press("j");
    await page.keyboard.press("r");
    await page.getByText("would allow this call").waitFor();
    await page.getByLabel("Pattern").focus();
    await page.getByLabel("Pattern").fill("curl https://example.org/*");
    await page.keyboard.press("Enter");
    await page.locator(`#${waiting[2]}`).waitFor({ state: "detached" });
    expect(await client.permissions.get(waiting[1] ?? "")).toMatchObject({ status: "denied", decision: { reason: "not this one" } });
    expect((await client.sessions.get(session.id)).rules).toEqual([expect.objectContaining({ tool: "Bash", pattern: "curl https://example.org/*", verdict: "allow" })]);
    // Another call of that kind is not asked any more.
    await client.permissions.approve(waiting[3] ?? "");
    const task = await shown.scene.end(await shown.scene.task(session, steps(["ask", "Bash", { command: "curl https://example.org/other" }])));
    expect(task).toMatchObject({ status: "completed", result: "Bash: approved" });
  });

  it("answer by a key only what is marked, and know of all that waits after a reconnection", async () => {
    const { client } = shown.scene;
    const session = await shown.scene.session({ name: "Two people" });
    const bus: { close(): void }[] = [];
    const page = await dashboard.visit("/");
    await page.routeWebSocket(/\/api\/v1\/events/, (socket) => void bus.push(socket.connectToServer()));
    await page.goto("/inbox");
    await settled(page);
    // What is told cannot be read: it is not there before the list is read again.
    dashboard.allow(/ERR_FAILED/);
    await page.route(/permissions\/perm_/, (route) => route.abort());
    const heard = page.waitForRequest(/permissions\/perm_/);
    await shown.scene.task(session, steps(["asks", 3, "Bash"]));
    const ids = await eventually("all wait", async () => {
      const { items } = await client.permissions.list({ session_id: session.id, status: "pending" });
      return items.length === 3 ? items.map(({ id }) => id).sort() : null;
    });
    await heard;
    await page.unroute(/permissions\/perm_/);
    await eventually("the page has read the list anew", async () => {
      for (const socket of bus.splice(0)) socket.close();
      return (await page.locator(`#${ids[2]}`).count()) === 1;
    });
    const active = page.locator(".request.active");
    while ((await active.getAttribute("id")) !== ids[1]) await page.keyboard.press("j");
    await client.permissions.approve(ids[1] ?? "");
    await page.locator(`#${ids[1]}`).waitFor({ state: "detached" });
    for (const key of ["a", "t", "s", "d"]) await page.keyboard.press(key);
    await page.getByText("That one waits no more").waitFor();
    await page.keyboard.press("j");
    await active.waitFor();
    for (const id of [ids[0], ids[2]]) expect(await client.permissions.get(id ?? "")).toMatchObject({ status: "pending" });
    await client.sessions.terminate(session.id);
  });

  it("reaches every link, field and button with Tab", async () => {
    const page = await dashboard.visit("/");
    const opener = page.getByRole("button", { name: "Launch an agent" });
    await opener.press("Enter");
    // Closed again, a dialog gives the focus back.
    await page.getByRole("dialog").getByLabel("Prompt").press("Escape");
    await opener.and(page.locator(":focus")).waitFor();
    await page.goto("/settings/agents");
    await settled(page);
    await page.locator("main form").waitFor();
    const all = await page.evaluate<number>("document.querySelectorAll('a[href], button:not(:disabled), input, select, textarea, summary').length");
    for (let i = 0; i < all + 20; i++) {
      await page.keyboard.press("Tab");
      await page.evaluate("document.activeElement.setAttribute('data-seen', '')");
    }
    expect(await page.evaluate("[...document.querySelectorAll('a[href], button:not(:disabled), input, select, textarea, summary')].filter((e) => !e.hasAttribute('data-seen') && e.checkVisibility()).map((e) => e.outerHTML.slice(0, 120))")).toEqual([]);
  });

  it("shows files as they are and as they were, what differs, and gives them away", async () => {
    const session = await shown.scene.session({ name: "Two states" });
    const written = async (content: string, more: string) => {
      await shown.scene.end(await shown.scene.task(session, steps(["write", "a.txt", content], ["write", more, more], ["text", "ok"])));
    };
    const states = async () => (await shown.scene.client.workspaces.manifests(session.workspace_id)).items.filter(({ kind }) => kind === "workspace").length;
    await written("one\n", "first.txt");
    await eventually("the first is saved", async () => (await states()) === 1);
    await written("two\n", "second.txt");
    await eventually("the second is saved", async () => (await states()) === 2);
    const page = await dashboard.visit(`/files?session=${session.id}`);
    await page.getByRole("button", { name: /a\.txt/ }).click();
    await page.locator(".code-text", { hasText: "two" }).waitFor();
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Download" }).click();
    expect((await download).suggestedFilename()).toBe("a.txt");
    await page.getByRole("combobox", { name: "State" }).selectOption({ index: 2 });
    await page.getByText("second.txt").waitFor({ state: "detached" });
    await page.getByRole("button", { name: /a\.txt/ }).click();
    await page.locator(".code-text", { hasText: "one" }).waitFor();
    await page.getByRole("combobox", { name: "Compare with" }).selectOption({ index: 1 });
    await page.getByText("2 paths differ.").waitFor();
    await page.locator("summary", { hasText: "a.txt" }).click();
    await page.locator(".diff .added", { hasText: "two" }).waitFor();
    await page.locator(".diff .removed", { hasText: "one" }).waitFor();
  });

  it("keeps a provider's key and tries it, shows a new API key once, tries rules, and sets a budget", async () => {
    const page = await dashboard.visit("/settings/agents");
    await page.getByLabel("Name").fill("second");
    await page.getByLabel("Key", { exact: true }).fill("sk-ant-never-shown-again");
    await page.getByLabel("Model").fill("claude-sonnet-4-5");
    await page.getByLabel("Address").fill(shown.model.anthropic);
    await page.getByRole("button", { name: "Keep it" }).click();
    const row = page.getByRole("row", { name: /second/ });
    await row.getByRole("button", { name: "Test" }).click();
    await row.getByText(/^works, /).waitFor();
    expect(await page.content()).not.toContain("sk-ant-never-shown-again");

    await page.goto("/settings/keys");
    await page.getByLabel("Name").fill("once only");
    await page.getByRole("button", { name: "Make the key" }).click();
    const secret = await page.locator(".secret").textContent();
    expect(secret).toMatch(/^mk_/);
    await page.getByRole("button", { name: "I have it" }).click();
    await page.getByRole("row", { name: /once only/ }).waitFor();
    expect(await page.content()).not.toContain(secret);

    await page.goto("/settings/rules");
    await page.getByLabel("Rules").fill('[{ "tool": "Bash", "pattern": "npm *", "verdict": "allow" }]');
    await page.getByLabel("Command").fill("npm test");
    await page.getByRole("status").getByText("allowed", { exact: true }).waitFor();
    await page.getByLabel("Command").fill("npm test; git push");
    await page.getByRole("status").getByText("asked", { exact: true }).waitFor();
    await page.getByLabel("Rules").fill("[{]");
    await page.getByRole("alert").filter({ hasText: "Not JSON" }).waitFor();

    await page.goto("/settings/budgets");
    await page.getByLabel("For the label").fill("team: ops");
    await page.getByLabel("Most dollars").fill("3");
    await page.getByRole("button", { name: "Set the budget" }).click();
    await page.getByText("$0 of $3.00").waitFor();
    expect((await shown.scene.client.budgets.list()).items).toContainEqual(expect.objectContaining({ label: { name: "team", value: "ops" }, max_cost_usd: 3 }));
  });

  it("makes a schedule, runs it by hand, pauses, resumes and deletes it", async () => {
    const page = await dashboard.visit("/schedules");
    await page.getByRole("button", { name: "New schedule" }).click();
    await page.getByRole("combobox", { name: "Agent", exact: true }).selectOption("scripted");
    await page.getByLabel("Prompt").fill(steps(["text", "By the clock."]));
    await page.getByRole("combobox", { name: "When" }).selectOption("");
    await page.getByLabel("Cron expression").fill("every day");
    dashboard.allow(/status of 400/);
    await page.getByText("More", { exact: true }).click();
    await page.getByLabel("Name", { exact: true }).fill("By the clock");
    await page.getByRole("button", { name: "Make the schedule" }).click();
    await page.getByRole("alert").filter({ hasText: /cron/i }).waitFor();
    await page.getByLabel("Cron expression").fill("30 4 * * *");
    await page.getByRole("button", { name: "Make the schedule" }).click();
    const card = page.getByRole("article").filter({ hasText: "By the clock" });
    await card.getByText("active", { exact: true }).waitFor();
    const [made] = (await shown.scene.client.schedules.list()).items;
    expect(made).toMatchObject({ name: "By the clock", cron: "30 4 * * *", timezone: "UTC", continue: false });
    await card.getByRole("button", { name: "Run now" }).click();
    await card.getByText("completed", { exact: true }).waitFor();
    await card.getByRole("button", { name: "Pause" }).click();
    await card.getByText("paused", { exact: true }).waitFor();
    await card.getByRole("button", { name: "Resume" }).click();
    await card.getByText("active", { exact: true }).waitFor();
    await card.getByRole("button", { name: "Delete" }).click();
    await page.getByRole("button", { name: "Delete both" }).click();
    await card.waitFor({ state: "detached" });
    await eventually("its session has ended", async () => (await shown.scene.client.sessions.get(made?.session_id ?? "")).status === "terminated");
  });

  it("pauses, resumes and drains a runner, and drains its host", async () => {
    const { client } = shown.scene;
    const session = await shown.scene.session({ name: "On a runner" });
    await shown.scene.end(await shown.scene.task(session, steps(["text", "here"])));
    const page = await dashboard.visit("/settings/hosts");
    const line = page.getByRole("listitem").filter({ hasText: "On a runner" });
    await line.getByRole("button", { name: "Pause" }).click();
    await line.getByText("paused", { exact: true }).waitFor();
    expect(await client.sessions.get(session.id)).toMatchObject({ status: "suspended", suspension: { strategy: "pause", cause: "requested" } });
    await line.getByRole("button", { name: "Resume" }).click();
    await line.getByText("idle", { exact: true }).waitFor();
    const before = (await client.sessions.get(session.id)).runner?.id ?? "";
    await line.getByRole("button", { name: "Drain" }).click();
    await line.waitFor({ state: "detached" });
    await shown.scene.end(await shown.scene.task(session, steps(["text", "on another"])));
    expect((await client.sessions.get(session.id)).runner?.id).not.toBe(before);
    await expect(client.runners.pause(before)).rejects.toThrow(/has ended|does not serve/);
    await page.getByRole("button", { name: "Drain this host" }).click();
    await page.getByRole("button", { name: "Take runners again" }).click();
    await page.getByRole("button", { name: "Drain this host" }).waitFor();
  });

  it("suspends and resumes several sessions at once", async () => {
    const labels = { bulk: "yes" };
    const made = await Promise.all([1, 2].map((n) => shown.scene.session({ name: `Bulk ${n}`, labels })));
    for (const session of made) await shown.scene.end(await shown.scene.task(session, steps(["text", "here"])));
    const page = await dashboard.visit("/");
    await page.getByPlaceholder(/Search/).fill("bulk:yes");
    const cards = page.locator(".session-card");
    for (const n of [1, 2]) await page.getByLabel(`Select Bulk ${n}`).check();
    await page.getByRole("toolbar").getByRole("button", { name: "Suspend" }).click();
    await expect.poll(() => cards.locator(".badge", { hasText: /^Suspended/ }).count()).toBe(2);
    for (const n of [1, 2]) await page.getByLabel(`Select Bulk ${n}`).check();
    await page.getByRole("toolbar").getByRole("button", { name: "Resume" }).click();
    await expect.poll(() => cards.locator(".badge", { hasText: /^Suspended/ }).count()).toBe(0);
  });

  it("says that a page cannot be loaded, and loads it when it can be", async () => {
    const page = await dashboard.visit("/");
    dashboard.allow(/ERR_FAILED/);
    await page.route(/assets\/costs-/, (route) => route.abort());
    await page.getByRole("link", { name: "Costs" }).click();
    await page.getByRole("heading", { name: "Costs" }).waitFor();
    await page.getByRole("alert").getByText("could not be loaded").waitFor();
    await page.unroute(/assets\/costs-/);
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("heading", { name: "Spent over time" }).waitFor();
    // An address that leads nowhere says so, asks no further, and leads on.
    dashboard.allow(/status of 404/, /response code: 404/);
    await page.goto(`/sessions/${shown.busy.id.slice(0, -1)}${shown.busy.id.endsWith("A") ? "B" : "A"}`);
    await page.getByText("No such session").waitFor();
    await page.getByRole("link", { name: "Go to the fleet" }).click();
    await page.getByRole("heading", { name: "Fleet" }).waitFor();
  });

  it("says that the server is away, and is live again when it is back", async () => {
    const page = await dashboard.visit(`/sessions/${shown.busy.id}`);
    await page.getByRole("log").waitFor();
    dashboard.allow(/WebSocket connection|ERR_CONNECTION|ERR_EMPTY|50\d/);
    await shown.scene.stack.controlPlane.stop();
    await page.locator(".connection.waiting, .connection.connecting").waitFor();
    // Not the state's badge beside it, which may say that the runner is out of reach.
    const away = page.locator(".session-head .badge", { hasText: /^(?:Reconnecting|Connecting)$/ });
    await away.waitFor();
    await shown.scene.stack.controlPlane.start();
    await page.locator(".connection.live").waitFor();
    await away.waitFor({ state: "detached" });
  });
});
