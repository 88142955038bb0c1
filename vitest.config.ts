/** Owns the test projects: `unit` on Node, `workerd` inside the runtime, `e2e` against one shared stack. */

import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

const outside = ["**/node_modules/**", "**/dist/**", ".marionette/**"];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["{sdk,agent,durable-objects,worker,test}/**/*.test.ts"],
          exclude: [...outside, "**/*.workerd.test.ts", "test/e2e/**"],
        },
      },
      {
        plugins: [cloudflareTest({ wrangler: { configPath: "./wrangler.toml" } })],
        test: { name: "workerd", include: ["**/*.workerd.test.ts"], exclude: outside },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          exclude: outside,
          globalSetup: ["test/e2e/shared-stack.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // Each file may start daemons, sandboxes and agents: more at once only wait for each other.
          maxWorkers: 2,
        },
      },
    ],
  },
});
