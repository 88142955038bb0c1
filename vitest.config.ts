/** Owns the test projects: `unit` on Node, `workerd` inside the runtime, `e2e` against one shared stack. */

import { mkdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

// One project after the other: side by side they would only take each other's time. A test that hangs fails; none is timed.
const order = (groupOrder: number) => ({ sequence: { groupOrder }, setupFiles: ["./test/support/patience.ts"], testTimeout: 180_000, hookTimeout: 180_000, expect: { poll: { timeout: 60_000 } } });
/** Vitest leaves one core to itself; on a machine with two that is half of it, and it does little. */
const maxWorkers = Math.max(2, availableParallelism() - 1);
/** The directory of the object store that a whole Marionette on one machine has, for the tests in workerd. */
const disk = join(import.meta.dirname, "node_modules/.cache/marionette-disk");
mkdirSync(disk, { recursive: true });
const outside = ["**/node_modules/**", "**/dist/**", ".marionette/**"];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          ...order(0),
          maxWorkers,
          include: ["{sdk,agent,durable-objects,worker,test}/**/*.test.ts"],
          exclude: [...outside, "**/*.workerd.test.ts", "test/e2e/**"],
        },
      },
      {
        plugins: [cloudflareTest({ wrangler: { configPath: "./wrangler.toml" }, miniflare: { serviceBindings: { DISK: { disk: { path: disk, writable: true } } } } })],
        test: { name: "workerd", ...order(1), maxWorkers, include: ["**/*.workerd.test.ts"], exclude: outside },
      },
      {
        test: {
          name: "e2e",
          ...order(2),
          include: ["test/e2e/**/*.test.ts"],
          exclude: outside,
          globalSetup: ["test/e2e/shared-stack.ts"],
          // Each file may start daemons, sandboxes and agents: more at once only wait for each other.
          maxWorkers: 2,
        },
      },
    ],
  },
});
