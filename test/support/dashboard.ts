/** Owns the dashboard under test: a browser that is signed in to a stack, and looking at a page with axe. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { BrowserContextOptions, Page } from "playwright-core";
import { startBrowser, type TestBrowser } from "./browser.ts";

export interface Dashboard extends TestBrowser {
  /** A signed-in page in a profile of its own, at `path`. */
  visit(path: string, options?: BrowserContextOptions & { key?: string }): Promise<Page>;
}

/** What a signed-out page asks first is answered by 401, and Chromium says so. */
export const SIGNED_OUT = /status of 401/;

export async function dashboardAt(url: string, apiKey: string, args: readonly string[] = []): Promise<Dashboard> {
  const browser = await startBrowser(args);
  return {
    ...browser,
    async visit(path, { key = apiKey, ...options } = {}) {
      const page = await browser.open({ baseURL: url, ...options });
      await page.goto(`${path}#key=${key}`);
      await page.locator(".navigation").waitFor({ state: "attached" });
      return page;
    },
  };
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

interface Violation {
  id: string;
  help: string;
  nodes: { target: string[]; html: string }[];
}

/** What axe-core says against the page as it is now, one line for each rule; of `rules` alone, where they are given. */
export async function violationsOf(page: Page, rules?: readonly string[]): Promise<string[]> {
  if (!(await page.evaluate<boolean>("'axe' in window"))) await page.evaluate(axe);
  const options = { resultTypes: ["violations"], ...(rules && { runOnly: { type: "rule", values: rules } }) };
  const { violations } = await page.evaluate<{ violations: Violation[] }>(`axe.run(document, ${JSON.stringify(options)})`);
  return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map(({ target, html }) => `${target.join(" ")} ${html.slice(0, 120)}`).join(" | ")}`);
}

/** By how many pixels the page is wider than its window: with the fonts of this machine, and with the wider and larger ones that another may have. */
export function overflowOf(page: Page): Promise<number> {
  return page.evaluate<number>(`(() => {
    const { body, documentElement: root } = document;
    const over = () => root.scrollWidth - innerWidth;
    const most = [over()];
    for (const [face, size] of [["monospace", "110%"], ["serif", "120%"]]) {
      root.style.setProperty("--face", face);
      body.style.fontSize = size;
      most.push(over());
    }
    root.style.removeProperty("--face");
    body.style.fontSize = "";
    return Math.max(...most);
  })()`);
}
