/** Owns the tool with which the agent keeps the people of a session up to date about its plan. */

import * as z from "zod";
import { toolFromZod, type Tool } from "../tool.ts";

const items = z.array(z.strictObject({ text: z.string().min(1).max(500), status: z.enum(["pending", "in_progress", "completed"]) })).max(50);
export type PlanItems = z.infer<typeof items>;

export function planTool(show: (items: PlanItems) => void): Tool {
  return toolFromZod({
    name: "update_plan",
    description: "Shows your plan to the people who watch: all its steps in order, each pending, in_progress (one at a time) or completed. Use it for work of more than three steps, and again whenever a step is done or the plan changes.",
    input: z.strictObject({ items }),
    execute({ items }) {
      show(items);
      return "The plan is shown.";
    },
  });
}
