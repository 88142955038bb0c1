/** Owns the one stack that all end-to-end files share; a file that kills parts starts its own. */

import type { TestProject } from "vitest/node";
import { startStack } from "../support/stack.ts";

declare module "vitest" {
  export interface ProvidedContext {
    url: string;
    masterKey: string;
    tenantId: string;
    apiKey: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stack = await startStack();
  for (const name of ["url", "masterKey", "tenantId", "apiKey"] as const) project.provide(name, stack[name]);
  return () => stack.close();
}
