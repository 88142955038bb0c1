/** Owns what a deployment is asked when somebody wants to know whether it is well, and what it answers. */

import * as z from "zod";
import { timestamp } from "./values.ts";

/** One thing that was looked at. `hint`: what to do where it is not ok. */
export const check = z.object({
  name: z.string().max(80),
  status: z.enum(["ok", "warning", "failed"]),
  detail: z.string().max(1_000),
  hint: z.string().max(1_000).optional(),
});
export type Check = z.infer<typeof check>;

/** What the deployment finds when it looks at itself, with what belongs to the caller's tenant. */
export const diagnosis = z.object({
  version: z.string(),
  links: z.object({ runner: z.number().int(), host: z.number().int() }),
  now: timestamp,
  checks: z.array(check),
});
export type Diagnosis = z.infer<typeof diagnosis>;

/** The deployment's release, which hosts and clients are compared with. */
export const RELEASE: string = "0.1.0";
