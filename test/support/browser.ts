/** Owns the browser of the tests: the system's Chromium, in which every fault of a page (its errors, its console, its content security policy) is a fault of the test. */

import { existsSync } from "node:fs";
import { chromium, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from "playwright-core";

const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

/** Null where there is one, else the reason to skip with what to do. */
export function missingBrowser(): string | null {
  return existsSync(CHROMIUM) ? null : `no browser at ${CHROMIUM}: run apt-get install chromium, or set CHROMIUM to one`;
}

/** A page that lets go of a socket before it was open has done nothing wrong. */
const HARMLESS = /WebSocket is closed before the connection is established/;

export interface TestBrowser {
  /** A page in a browser profile of its own: no cookies, no storage. */
  open(options?: BrowserContextOptions): Promise<Page>;
  /** One more page beside another, with its cookies. */
  beside(page: Page): Promise<Page>;
  /** Faults like these are part of what a test does from now on, until `faults`. */
  allow(...patterns: RegExp[]): void;
  /** What went wrong in all pages since it was last asked, without what was allowed. */
  faults(): string[];
  /** Closes all pages. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

/** Starts it; throws with the reason where that does not work. `args`: further switches of Chromium. */
export async function startBrowser(args: readonly string[] = []): Promise<TestBrowser> {
  const missing = missingBrowser();
  if (missing !== null) throw new Error(missing);
  const browser: Browser = await chromium.launch({ executablePath: CHROMIUM, args: [...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), "--disable-dev-shm-usage", ...args] });
  const contexts = new Set<BrowserContext>();
  let found: string[] = [];
  let allowed: RegExp[] = [];
  function watch(page: Page): Page {
    page.setDefaultTimeout(60_000);
    page.on("pageerror", (error) => void found.push(`${page.url()}: ${error.stack ?? error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") found.push(`${page.url()}: ${message.text()} ${message.location().url}`);
    });
    page.on("crash", () => void found.push(`${page.url()}: the page crashed`));
    return page;
  }
  async function clear(): Promise<void> {
    for (const context of contexts) await context.close();
    contexts.clear();
  }
  return {
    async open(options = {}) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", timezoneId: "UTC", ...options });
      contexts.add(context);
      return watch(await context.newPage());
    },
    beside: async (page) => watch(await page.context().newPage()),
    allow: (...patterns) => void allowed.push(...patterns),
    faults() {
      const real = found.filter((fault) => !HARMLESS.test(fault) && !allowed.some((pattern) => pattern.test(fault)));
      found = [];
      allowed = [];
      return real;
    },
    clear,
    async close() {
      await clear();
      await browser.close();
    },
  };
}
