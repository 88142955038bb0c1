/** Owns the dashboard bench: what a first load weighs and takes, what 20 streaming sessions cost a frame and leave in memory, and a transcript of 100,000 events. */

import { gzipSync } from "node:zlib";
import type { CDPSession, Page } from "playwright-core";
import { session as sessionSchema, task as taskSchema } from "../../sdk/protocol/index.ts";
import { dashboardAt, type Dashboard } from "../support/dashboard.ts";
import { eventually } from "../support/eventually.ts";
import { startStack, type Stack } from "../support/stack.ts";
import { forkFleet, type Scenario } from "./fleet-process.ts";
import { number, quantile, type Figure } from "./table.ts";

const SESSIONS = 20;
const EVENTS_PER_SECOND = 50;
/** `DASHBOARD_SECONDS=600` for the whole ten minutes; `DASHBOARD_EVENTS=0` leaves out the long transcript. */
const SECONDS = Number(process.env["DASHBOARD_SECONDS"] ?? 120);
const LONG = Number(process.env["DASHBOARD_EVENTS"] ?? 100_000);
const LOADS = 5;
/** What is read, compiled and cached once is over by then. */
const WARM_SECONDS = 20;
const SCROLL_SECONDS = 15;
/** Growth of the heap that counts as flat. */
const FLAT = 1.2;
/** A frame at 60 a second; the page's own thread may use so much of it that 50 are still drawn. */
const FRAME_MS = 16.7;
const MOST_KB = 200;
/** Longest that each part may take beyond what it measures; then its figures are missing and the bench goes on. */
const SLACK_MS = 150_000;

/** What a page's own thread did while frames were counted. `cpu`: milliseconds of its processor time for each frame. */
interface Drawn {
  frames: number[];
  cpu: number;
  /** Tasks of more than 50 ms. */
  slow: number;
}

async function profiled(page: Page): Promise<CDPSession> {
  const cdp = await page.context().newCDPSession(page);
  // The thread's own time: what others on the machine do is not counted.
  await cdp.send("Performance.setTimeDomain", { timeDomain: "threadTicks" });
  await cdp.send("Performance.enable");
  await cdp.send("HeapProfiler.enable");
  return cdp;
}
async function metric(cdp: CDPSession, wanted: string): Promise<number> {
  const { metrics } = await cdp.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === wanted)?.value ?? Number.NaN;
}
/** Bytes of JavaScript objects that are still in use. */
async function heapOf(cdp: CDPSession): Promise<number> {
  await cdp.send("HeapProfiler.collectGarbage");
  return metric(cdp, "JSHeapUsedSize");
}

/** Frames in each whole second of `seconds`, counted by the page itself. */
async function drawn(page: Page, cdp: CDPSession, seconds: number): Promise<Drawn> {
  const before = await metric(cdp, "TaskDuration");
  const { counts, slow } = await page.evaluate<{ counts: number[]; slow: number }>(`new Promise((resolve) => {
    const counts = []; let from = performance.now(); let frames = 0; let slow = 0;
    const watcher = new PerformanceObserver((list) => { slow += list.getEntries().length; });
    watcher.observe({ type: "longtask" });
    requestAnimationFrame(function frame(now) {
      frames++;
      if (now - from >= 1000) { counts.push(frames * 1000 / (now - from)); frames = 0; from = now; }
      if (counts.length < ${seconds}) requestAnimationFrame(frame); else { watcher.disconnect(); resolve({ counts, slow }); }
    });
  })`);
  const all = counts.reduce((sum, each) => sum + each, 0);
  return { frames: counts, slow, cpu: ((await metric(cdp, "TaskDuration")) - before) * 1_000 / Math.max(1, all) };
}
const framesFigure = (work: string, { frames }: Drawn, idle: Drawn): Figure => {
  const [median, raw] = [quantile(frames, 0.5), quantile(idle.frames, 0.5)];
  return { work, result: `${number(median)} (p5 ${number(quantile(frames, 0.05))})`, raw: `${number(raw)} at rest`, ratio: median / raw, goal: "≥ 50", met: median >= 50 };
};
const cpuFigure = (work: string, { cpu, slow }: Drawn, idle: Drawn): Figure => ({ work, result: `${cpu.toFixed(1)} ms a frame, ${slow} tasks over 50 ms`, raw: `${idle.cpu.toFixed(1)} ms at rest`, ratio: null, goal: `≤ ${FRAME_MS} ms`, met: cpu <= FRAME_MS });

/** From the navigation until the launch button is there, in a browser that has nothing cached: milliseconds, and KB of what was loaded as gzip makes it. */
async function load(dashboard: Dashboard): Promise<{ ms: number; kb: number }> {
  const page = await dashboard.visit("/inbox");
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Network.enable");
  await cdp.send("Network.setCacheDisabled", { cacheDisabled: true });
  await page.addInitScript(`new MutationObserver((_, watcher) => { if (document.querySelector(".page-head button")) { window.ready = performance.now(); watcher.disconnect(); } }).observe(document, { childList: true, subtree: true })`);
  const bodies: Promise<Buffer>[] = [];
  page.on("response", (response) => void (new URL(response.url()).pathname.startsWith("/api/") || bodies.push(response.body().catch(() => Buffer.alloc(0)))));
  await page.goto("/");
  const ms = await eventually("it can be launched from", () => page.evaluate<number | null>("window.ready ?? null"));
  const kb = (await Promise.all(bodies)).reduce((sum, body) => sum + gzipSync(body).length, 0) / 1_000;
  await page.context().close();
  return { ms, kb };
}

async function loads(_: Stack, dashboard: Dashboard): Promise<Figure[]> {
  const all: { ms: number; kb: number }[] = [];
  for (let i = 0; i < LOADS; i++) all.push(await load(dashboard));
  const ms = quantile(all.map((each) => each.ms), 0.5);
  const kb = Math.max(...all.map((each) => each.kb));
  return [
    { work: "Dashboard from nothing to the launch button", result: `${number(ms)} ms`, raw: "–", ratio: null, goal: "≤ 1,000 ms", met: ms <= 1_000 },
    { work: "First load, gzipped", result: `${number(kb)} KB`, raw: "–", ratio: null, goal: `≤ ${MOST_KB} KB`, met: kb <= MOST_KB },
  ];
}

/** A host in a process of its own whose agents do `scenario`; gone when the part ends. */
async function withFleet<T>(stack: Stack, size: number, scenario: Scenario, work: () => Promise<T>): Promise<T> {
  const { token } = await stack.admin.createRunnerToken(stack.tenantId, "dashboard bench");
  const fleet = await forkFleet({ url: stack.url, token, size, scenario });
  try {
    return await work();
  } finally {
    fleet.close();
  }
}
const session = async (stack: Stack, name: string) => (await stack.api.post("/sessions", { agent: "scripted", name, keep_raw: false }, sessionSchema)).id;
const stream = (stack: Stack, id: string) => stack.api.post(`/sessions/${id}/tasks`, { prompt: "stream" }, taskSchema);

function streaming(stack: Stack, dashboard: Dashboard): Promise<Figure[]> {
  const scenario: Scenario = { kind: "emit", count: (SECONDS + 180) * EVENTS_PER_SECOND, per_second: EVENTS_PER_SECOND };
  return withFleet(stack, SESSIONS, scenario, async () => {
    const page = await dashboard.visit("/", { viewport: { width: 1_920, height: 1_400 } });
    const cdp = await profiled(page);
    const idle = await drawn(page, cdp, 5);
    const ids: string[] = [];
    for (let i = 0; i < SESSIONS; i++) ids.push(await session(stack, `Session ${i}`));
    for (const id of ids) await stream(stack, id);
    await eventually("all cards stream", async () => (await page.locator(".last-line", { hasText: "xxx" }).count()) === SESSIONS, 90_000);
    await drawn(page, cdp, WARM_SECONDS);
    const before = await heapOf(cdp);
    const result = await drawn(page, cdp, SECONDS);
    const after = await heapOf(cdp);
    const alive = await page.locator(".session-card .badge.accent").count();
    await page.context().close();
    for (const id of ids) await stack.api.request("DELETE", `/sessions/${id}`);
    const work = `${SESSIONS} sessions at ${EVENTS_PER_SECOND} events/s, ${SECONDS} s`;
    return [
      framesFigure(`Frames a second, ${work}`, result, idle),
      cpuFigure("The page's own thread meanwhile", result, idle),
      { work: "JavaScript heap, end to start of that", result: `${number(after / 1e6)} MB`, raw: `${number(before / 1e6)} MB`, ratio: after / before, goal: `≤ ${FLAT}`, met: after <= before * FLAT },
      { work: "Sessions that still streamed at its end", result: String(alive), raw: String(SESSIONS), ratio: alive / SESSIONS, goal: `= ${SESSIONS}`, met: alive === SESSIONS },
    ];
  });
}

function long(stack: Stack, dashboard: Dashboard): Promise<Figure[]> {
  return withFleet(stack, 1, { kind: "emit", count: LONG, per_second: null, as: "message" }, async () => {
    const id = await session(stack, "Long");
    const page = await dashboard.visit(`/sessions/${id}`);
    await page.getByRole("log").waitFor();
    await stream(stack, id);
    const cdp = await profiled(page);
    const gap = () => page.evaluate<number>("(() => { const e = document.querySelector('.virtual-scroller'); return e.scrollHeight - e.scrollTop - e.clientHeight; })()");
    const shown = () => page.evaluate<number>("Number([...document.querySelectorAll('.virtual-item')].at(-1)?.dataset.index ?? 0)");
    await eventually("the last has come", async () => (await stack.api.get(`/sessions/${id}`, sessionSchema)).task_id === null && page.locator(".session-head .badge", { hasText: "Idle" }).isVisible(), 300_000);
    await eventually("nothing more comes", async () => {
      const before = await shown();
      await page.waitForTimeout(1_000);
      return (await shown()) === before;
    });
    const [count, stuck] = [(await shown()) + 1, await gap()];
    const idle = await drawn(page, cdp, 3);
    const heap = await heapOf(cdp);
    // From the end to the beginning and back, several screens a frame.
    await page.evaluate(`(() => { const e = document.querySelector('.virtual-scroller'); let by = -Math.max(900, e.scrollHeight / ${SCROLL_SECONDS * 30}); requestAnimationFrame(function step() { e.scrollTop += by; if (e.scrollTop <= 0) by = -by; window.scrolling = requestAnimationFrame(step); }); })()`);
    const result = await drawn(page, cdp, SCROLL_SECONDS);
    await page.evaluate("cancelAnimationFrame(window.scrolling)");
    await page.evaluate("document.querySelector('.virtual-scroller').scrollTop = 1000");
    await page.getByRole("button", { name: "Latest" }).click();
    await eventually("it is at its end", async () => (await gap()) < 48);
    await page.context().close();
    const work = `scrolling through ${number(count)} of ${number(LONG)} events`;
    return [
      framesFigure(`Frames a second, ${work}`, result, idle),
      cpuFigure("The page's own thread meanwhile", result, idle),
      { work: "It stayed at the end while they came", result: `${number(stuck)} px off`, raw: "–", ratio: null, goal: "< 48", met: stuck < 48 },
      { work: "JavaScript heap with all of them", result: `${number(heap / 1e6)} MB`, raw: "–", ratio: null, goal: "–", met: true },
    ];
  });
}

/** The work's answer, or after `ms` a figure that says that it never came. */
async function within(name: string, ms: number, work: Promise<Figure[]>): Promise<Figure[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Figure[]>((resolve) => (timer = setTimeout(() => resolve([missing(name, `not done after ${Math.round(ms / 1_000)} s`)]), ms)));
  try {
    return await Promise.race([work, late]);
  } catch (error) {
    return [missing(name, error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error))];
  } finally {
    clearTimeout(timer);
  }
}
const missing = (work: string, why: string): Figure => ({ work, result: why, raw: "–", ratio: null, goal: "a figure", met: false });

const PARTS = [
  { name: "First load", part: loads, ms: 0 },
  { name: `${SESSIONS} streaming sessions`, part: streaming, ms: (SECONDS + WARM_SECONDS) * 1_000 },
  { name: "A long transcript", part: long, ms: 300_000 },
] as const;

export async function benchDashboard(): Promise<Figure[]> {
  const stack = await startStack();
  const dashboard = await dashboardAt(stack.url, stack.apiKey);
  const figures: Figure[] = [];
  for (const { name, part, ms } of PARTS) {
    if (part === long && LONG === 0) continue;
    const found = await within(name, ms + SLACK_MS, part(stack, dashboard));
    // Each part takes minutes: it says where it is.
    process.stderr.write(`${found.map(({ work, result }) => `${work}: ${result}`).join("\n")}\n`);
    figures.push(...found);
  }
  // Whatever does not end by itself ends with the process.
  await within("The end", 30_000, Promise.all([dashboard.close(), stack.close()]).then(() => []));
  return figures;
}
