/** Owns what the pictures of the dashboard show: a team's sessions in every state, made by real agents, a real gateway and the project's model server. */

import type { Session } from "../../sdk/index.ts";
import type { Step } from "../support/agents.ts";
import { missingCli } from "../support/clis.ts";
import { eventually } from "../support/eventually.ts";
import { script, startModelServer, type ModelServer, type StepInput } from "../support/model-server/index.ts";
import { startScene, type Scene } from "../support/scene.ts";

export interface Shown {
  scene: Scene;
  model: ModelServer;
  /** A session with much to see; one that waits for a person; one that is suspended. */
  busy: Session;
  waiting: Session;
  suspended: Session;
  close(): Promise<void>;
}

const DIFF = `--- a/src/cart.ts
+++ b/src/cart.ts
@@ -12,7 +12,9 @@
   let sum = 0;
   for (const item of items) {
-    sum += item.price * item.count;
+    // Whole cents.
+    sum += item.cents * item.count;
   }
-  return sum;
+  return Math.round(sum) / 100;
 }
`;
const TESTS = "\u001b[1m RUN \u001b[0m v5.1.1 /workspace\n\n \u001b[32m✓\u001b[0m src/cart.test.ts \u001b[2m(12 tests)\u001b[0m 41 ms\n \u001b[32m✓\u001b[0m src/price.test.ts \u001b[2m(8 tests)\u001b[0m 17 ms\n \u001b[31m✗\u001b[0m src/voucher.test.ts \u001b[2m(5 tests | 1 failed)\u001b[0m 22 ms\n\n Test Files  \u001b[31m1 failed\u001b[0m | \u001b[32m2 passed\u001b[0m (3)\n";
const record = (data: object): Step => ["record", data];
const PLAN = (at: number) => record({ type: "plan", items: ["Read how totals are counted", "Count in cents", "Run the tests", "Mend the voucher"].map((text, i) => ({ text, status: i < at ? "completed" : i === at ? "in_progress" : "pending" })) });

const WORK: Step[] = [
  PLAN(0), record({ type: "thinking", text: "The total is a float, so 0.1 + 0.2 is off by a hair. Cents are whole numbers; the sum should be made of those and be turned into a price at the very end." }),
  record({ type: "message", text: "I will look at how totals are counted first." }),
  record({ type: "tool.call", call_id: "a", tool: "Read", input: { file_path: "src/cart.ts" }, summary: "src/cart.ts" }), record({ type: "tool.result", call_id: "a", output: "export function total(items) { … }", duration_ms: 12 }),
  PLAN(1), ["write", "cart.ts", "/** What is in the cart, and what it costs. */\nexport interface Item {\n  name: string;\n  cents: number;\n  count: number;\n}\n\nexport function total(items: readonly Item[]): number {\n  let sum = 0;\n  // Prices are in cents: no rounding until the end.\n  for (const item of items) sum += item.cents * item.count;\n  return Math.round(sum) / 100;\n}\n"],
  ["write", "README.md", "# Shop\n\nA cart that counts in cents.\n"],
  record({ type: "file.changed", path: "src/cart.ts", change: "modified", diff: DIFF }),
  PLAN(2), record({ type: "tool.call", call_id: "b", tool: "Bash", input: { command: "npm test" }, summary: "npm test" }), record({ type: "tool.result", call_id: "b", output: TESTS, is_error: true, duration_ms: 3_412 }),
  PLAN(3), record({ type: "progress", text: "2 of 3 test files pass", fraction: 0.66 }),
  record({ type: "message", text: "Totals are right now. One voucher test still fails: it expects the old rounding.\n\n```ts\nexpect(total([{ cents: 1999, count: 3 }])).toBe(59.97);\n```\n\nI will change the voucher next." }),
];

/** Starts all of it. Without the real Claude Code, its session is left out. */
export async function startShown(): Promise<Shown> {
  const [scene, model] = await Promise.all([startScene(), startModelServer()]);
  const { client } = scene;
  async function work(name: string, labels: Record<string, string>, all: Step[], more: object = {}): Promise<Session> {
    const session = await scene.session({ name, labels, env: { SCRIPT: JSON.stringify(all) }, ...more });
    await scene.task(session, `${name}. Keep it small, and say what you did.`);
    return session;
  }
  const pending = (session: Session) => eventually("it waits", async () => (await client.sessions.get(session.id)).pending_permissions > 0);

  await client.agentConfigs.create({ name: "work", api: "anthropic", key: "sk-ant-shown-only-0123456789", model: "claude-sonnet-4-5", base_url: model.anthropic });
  await client.budgets.create({ period: "month", max_cost_usd: 200 });
  await client.budgets.create({ period: "day", label: { name: "team", value: "web" }, max_cost_usd: 12, max_tokens: 2_000_000 });
  if (missingCli("claude") === null) {
    const session = await scene.session({ agent: "claude", name: "Review the login page", labels: { team: "web" }, agent_config: "work", budget: { max_cost_usd: 5 } });
    const answers: StepInput[] = [{ text: "I will read the page first.", calls: [{ tool: "Bash", input: { command: "ls -la" } }] }, { text: "The form has no label for its second field. ".repeat(12) }];
    await scene.end(await scene.task(session, script(answers, "Review the login page")));
    await scene.end(await scene.task(session, script([{ text: "Add one, and give the field an autocomplete token. ".repeat(9) }], "What would you change?")));
  }
  const suspended = await work("Translate the manual", { team: "docs" }, [["text", "Three chapters are translated."]]);
  const busy = await work("Count carts in cents", { team: "web", branch: "main" }, [...WORK, ["sleep", 86_400_000]], { budget: { max_cost_usd: 2 } });
  const waiting = await work("Release 2.4", { team: "ops" }, [["text", "Everything is ready for the release."], ["ask", "Bash", { command: "git push --force origin release/2.4 && npm publish --tag latest" }]]);
  await work("Move to the new router", { team: "web" }, [["text", "One file is left."], ["ask", "Edit", { file_path: "src/routes.ts", old_string: "const router = old();\n", new_string: "const router = createRouter({ strict: true });\n" }]]);
  await work("Nightly checks", { team: "ops" }, [["stderr", "no such database"], ["exit", 3]]);
  await work("Write release notes", { team: "docs" }, [["record", { type: "message.delta", text: "## 2.4\n\nCarts count in cents. Vouchers " }], ["sleep", 86_400_000]]);
  await client.schedules.create({ agent: "scripted", name: "Triage new issues", prompt: "Read the issues that came since yesterday. Label each, and say which one to look at first.", cron: "0 9 * * MON-FRI", timezone: "Europe/Berlin", labels: { team: "web" }, continue: true });
  const failing = await client.schedules.create({ agent: "scripted", name: "Update dependencies", prompt: "Update what has a security fix, and open a change for each.", cron: "0 3 * * SUN", timezone: "UTC", env: { SCRIPT: JSON.stringify([["exit", 3]]) }, pause_on_failure: true });
  await scene.end(await client.schedules.trigger(failing.id));
  await pending(waiting);
  await eventually("it is idle", async () => (await client.sessions.get(suspended.id)).task_id === null && (await client.sessions.get(suspended.id)).queued_tasks === 0);
  await client.sessions.suspend(suspended.id);
  await eventually("it is suspended", async () => (await client.sessions.get(suspended.id)).status === "suspended");
  return {
    scene, model, busy, waiting, suspended,
    async close() {
      await scene.close();
      await model.close();
    },
  };
}
