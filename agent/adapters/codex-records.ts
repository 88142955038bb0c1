/** Owns what is read of Codex's app-server: tolerant schemas of the messages that matter here; unknown fields pass. */

import * as z from "zod";
import { json } from "../../sdk/protocol/index.ts";

const id = z.union([z.string(), z.number()]);

/** Any line: a request of the server's has method and id, a notification a method, a response an id. */
export const message = z.looseObject({
  id: id.optional(),
  method: z.string().optional(),
  params: z.unknown().optional(),
  result: z.unknown().optional(),
  error: z.looseObject({ message: z.string().default("no reason given") }).optional(),
});
export type RequestId = z.infer<typeof id>;

const change = z.looseObject({ path: z.string(), kind: z.looseObject({ type: z.string() }), diff: z.string().default("") });
const base = { id: z.string(), durationMs: z.number().nullish() };
const item = z.discriminatedUnion("type", [
  z.looseObject({ ...base, type: z.literal("agentMessage"), text: z.string() }),
  z.looseObject({ ...base, type: z.literal("reasoning"), summary: z.array(z.string()).default([]), content: z.array(z.string()).default([]) }),
  z.looseObject({ ...base, type: z.literal("commandExecution"), command: z.string(), cwd: z.string().nullish(), status: z.string(), aggregatedOutput: z.string().nullish(), exitCode: z.number().nullish() }),
  z.looseObject({ ...base, type: z.literal("fileChange"), changes: z.array(change), status: z.string() }),
]);
export type Item = z.infer<typeof item>;
export type ItemOf<T extends Item["type"]> = Extract<Item, { type: T }>;
/** An item of a kind that is not read here keeps its kind. */
const anyItem = z.union([item, z.looseObject({ type: z.string(), id: z.string().default("") }).transform(({ type, id }) => ({ type: "other" as const, kind: type, id }))]);
export const itemNotice = z.looseObject({ threadId: z.string(), item: anyItem });

export const thread = z.looseObject({ thread: z.looseObject({ id: z.string() }), model: z.string().optional() });
export const turnOf = z.looseObject({ turn: z.looseObject({ id: z.string() }) });

const turnError = z.looseObject({ message: z.string(), codexErrorInfo: z.unknown().optional(), additionalDetails: z.string().nullish() });
export type TurnError = z.infer<typeof turnError>;
export const turnCompleted = z.looseObject({ threadId: z.string(), turn: z.looseObject({ id: z.string(), status: z.string(), error: turnError.nullish() }) });
export const errorNotice = z.looseObject({ error: turnError, willRetry: z.boolean().default(false) });
export const delta = z.looseObject({ threadId: z.string(), delta: z.string() });
export const plan = z.looseObject({ plan: z.array(z.looseObject({ step: z.string(), status: z.string() })) });
export const warning = z.looseObject({ message: z.string().optional(), summary: z.string().optional() });
export const resolved = z.looseObject({ requestId: id });

const count = z.number().int().min(0).catch(0).default(0);
const tokens = z.looseObject({ inputTokens: count, cachedInputTokens: count, cacheWriteInputTokens: count, outputTokens: count, reasoningOutputTokens: count });
export type Tokens = z.infer<typeof tokens>;
export const tokenUsage = z.looseObject({ threadId: z.string(), turnId: z.string(), tokenUsage: z.looseObject({ total: tokens, last: tokens }) });

/** The server's question about a command, or about a patch; the patch itself was in the item. */
export const approval = z.looseObject({
  itemId: z.string(),
  kind: z.string().default("command"),
  command: z.string().nullish(),
  cwd: z.string().nullish(),
  reason: z.string().nullish(),
  networkApprovalContext: json.nullish(),
});
export type Approval = z.infer<typeof approval>;
