/** Owns `npm run screenshots`: a picture of each page of the dashboard, in worker/ui/screenshots/; with names behind it, of those alone. */

import { mkdir, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import type { Page } from "playwright-core";
import { dashboardAt } from "../support/dashboard.ts";
import { startShown } from "./stage.ts";

const TO = join(import.meta.dirname, "../../worker/ui/screenshots");
/** Largest picture in the repository, bytes. */
const LARGEST = 100 * 1024;
const wanted = process.argv.slice(2);

async function weigh(path: string): Promise<void> {
  const { size } = await stat(path);
  process.stdout.write(`${relative(process.cwd(), path)}: ${Math.round(size / 1024)} KiB${size > LARGEST ? ", which is too large" : ""}\n`);
  if (size > LARGEST) process.exitCode = 1;
}

await mkdir(TO, { recursive: true });
const shown = await startShown();
const dashboard = await dashboardAt(shown.scene.stack.url, shown.scene.stack.apiKey);
async function picture(name: string, path: string, look: { dark?: boolean; phone?: boolean } = {}, before?: (page: Page) => Promise<unknown>): Promise<void> {
  if (wanted.length > 0 && !wanted.includes(name)) return;
  const page = await dashboard.visit(path, { colorScheme: look.dark ? "dark" : "light", viewport: look.phone ? { width: 360, height: 740 } : { width: 1_080, height: 620 } });
  await page.locator("h1").first().waitFor();
  await page.locator(".waiting").waitFor({ state: "detached" });
  await before?.(page);
  // Fonts, charts and what was measured have settled.
  await page.waitForTimeout(1_200);
  const file = join(TO, `${name}.png`);
  await page.screenshot({ path: file });
  await page.context().close();
  await weigh(file);
}
const transcript = (page: Page) => page.getByRole("log").waitFor();
const view = (name: string) => (page: Page) => page.getByRole("group", { name: "View" }).getByRole("button", { name }).click();
try {
  await picture("fleet", "/");
  await picture("fleet-dark", "/", { dark: true });
  await picture("launch", "/", {}, async (page) => {
    await page.getByRole("button", { name: "Launch an agent" }).click();
    await page.getByRole("combobox", { name: "Agent", exact: true }).selectOption("claude");
    await page.getByText("More", { exact: true }).click();
  });
  await picture("session", `/sessions/${shown.busy.id}`, {}, transcript);
  await picture("session-dark", `/sessions/${shown.waiting.id}`, { dark: true }, transcript);
  await picture("terminal", `/sessions/${shown.busy.id}`, { dark: true }, view("Terminal"));
  await picture("inbox", "/inbox");
  await picture("inbox-phone", "/inbox", { phone: true, dark: true });
  await picture("session-phone", `/sessions/${shown.busy.id}`, { phone: true }, transcript);
  await picture("files", `/files?session=${shown.busy.id}`, {}, (page) => page.getByRole("button", { name: /cart\.ts/ }).click());
  await picture("costs", "/costs?days=1");
  await picture("hosts", "/settings/hosts", { dark: true });
  await picture("schedules", "/schedules");
  await picture("images-phone", `/sessions/${shown.suspended.id}`, { dark: true, phone: true }, async (page) => {
    await transcript(page);
    await page.getByLabel("Images", { exact: true }).setInputFiles(["costs", "files"].map((name) => join(TO, `${name}.png`)));
    await page.getByRole("list", { name: "Images to send" }).locator("li:not(.sending)").nth(1).waitFor();
    await page.getByLabel("Prompt").fill("Why is the legend cut off in the first of these?");
  });
  await picture("settings", "/settings/agents");
  await picture("budgets", "/settings/budgets", { dark: true });
} finally {
  await dashboard.close();
  await shown.close();
}
process.exit();
