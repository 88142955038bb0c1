/** Owns the adapter for `marco`, the agent that comes with the runner: it speaks the custom protocol, and goes on where an attempt of the same task was broken off. */

import type { Adapter } from "./adapter.ts";
import { CustomTask } from "./custom.ts";

export const marco: Adapter = {
  name: "marco",
  keyVariables: ["ANTHROPIC_API_KEY", "OPENAI_API_KEY"],
  continues: () => true,
  stateFiles: () => [".marco/conversations"],
  async run(context) {
    // Named before anything is said, so that what the first attempt of a first task did is found again.
    const conversation = context.task.conversation ?? `marco-${context.task.task_id}`;
    context.setConversation(conversation);
    const key = context.apiKey?.reveal();
    const env: Record<string, string> = key === undefined ? {} : { ANTHROPIC_API_KEY: key, OPENAI_API_KEY: key };
    const outcome = await new CustomTask({ ...context, task: { ...context.task, conversation } }, { env, failsInWords: true }).run();
    return { ...outcome, conversation };
  },
};
