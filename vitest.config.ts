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
    ],
  },
});
