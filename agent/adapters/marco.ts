/** Owns the adapter for `marco`, the agent that comes with the runner: it speaks the custom protocol, and goes on where an attempt of the same task was broken off. */

import type { Adapter } from "./adapter.ts";
import { CustomTask } from "./custom.ts";
import { gatewayEnvironment } from "./gateway-environment.ts";

export const marco: Adapter = {
  name: "marco",
  keyVariables: ["ANTHROPIC_API_KEY", "OPENAI_API_KEY"],
  continues: () => true,
  stateFiles: () => [".marco/conversations"],
  async run(context) {
    // Named before anything is said, so that what the first attempt of a first task did is found again.
    const conversation = context.task.conversation ?? `marco-${context.task.task_id}`;
    context.setConversation(conversation);
    const outcome = await new CustomTask({ ...context, task: { ...context.task, conversation } }, { env: gatewayEnvironment(context.gateway, context.env), failsInWords: true }).run();
    return { ...outcome, conversation };
  },
};
