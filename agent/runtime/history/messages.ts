/** Owns the conversation: its messages as plain JSON, and the rule that every tool call has exactly one result, in the very next message. */

import * as z from "zod";
import { takenImage, type Image } from "../images.ts";

const provider = z.record(z.string(), z.unknown());
const text = z.object({ type: z.literal("text"), text: z.string() });
const image = z.object({ type: z.literal("image"), data: z.string(), mediaType: z.string() });
/** `provider` is what the model's provider wants back unchanged, such as the signature of a thought. */
const thinking = z.object({ type: z.literal("thinking"), text: z.string(), provider: provider.optional() });
const toolCallPart = z.object({ type: z.literal("tool-call"), callId: z.string(), tool: z.string(), input: z.unknown(), provider: provider.optional() });
export const toolResultPart = z.object({ type: z.literal("tool-result"), callId: z.string(), tool: z.string(), content: z.union([z.string(), z.array(z.discriminatedUnion("type", [text, image]))]), isError: z.boolean().optional() });

/** One message of a conversation; survives JSON. */
export const message = z.discriminatedUnion("role", [
  z.object({ role: z.literal("user"), content: z.array(z.discriminatedUnion("type", [text, image])) }),
  z.object({ role: z.literal("assistant"), content: z.array(z.discriminatedUnion("type", [text, thinking, toolCallPart])) }),
  z.object({ role: z.literal("tool"), content: z.array(toolResultPart) }),
]);
export type Message = z.infer<typeof message>;
export type UserMessage = Extract<Message, { role: "user" }>;
export type AssistantMessage = Extract<Message, { role: "assistant" }>;
export type ToolMessage = Extract<Message, { role: "tool" }>;
export type ToolCallPart = z.infer<typeof toolCallPart>;
export type ToolResultPart = z.infer<typeof toolResultPart>;
export type UserPart = UserMessage["content"][number];
/** What a person says: words, or words and images. */
export type Prompt = string | readonly UserPart[];

const prompt = z.union([z.string().transform((said) => [{ type: "text" as const, text: said }]), z.array(z.discriminatedUnion("type", [text, image]))]);

/** What was said as a message, without the blank texts that providers refuse, also when they come back as history. Throws a TypeError where nothing is left, where it holds an image that no model takes, or where it is no prompt at all. */
export function userMessage(said: Prompt): UserMessage {
  const parsed = prompt.safeParse(said);
  if (!parsed.success) throw new TypeError("the prompt is neither a text nor a list of texts and images");
  const content = parsed.data.flatMap((part): UserPart[] => (part.type === "image" ? [imageOf(part)] : part.text.trim() === "" ? [] : [{ ...part, text: part.text.toWellFormed() }]));
  if (content.length === 0) throw new TypeError("the prompt is empty");
  return { role: "user", content };
}

function imageOf(part: Image): Image {
  const taken = takenImage(part);
  if ("wrong" in taken) throw new TypeError(`the prompt: ${taken.wrong}`);
  return taken;
}

/** Throws a TypeError that names the first of them that is no message of this runtime's. */
export function checkHistory(messages: readonly Message[]): void {
  for (const [i, one] of messages.entries()) {
    const { error } = message.safeParse(one);
    if (error) throw new TypeError(`message ${i} of the history is not one of this runtime's: ${error.issues.slice(0, 3).map((issue) => `${issue.path.join(".") || "it"}: ${issue.message}`).join("; ")}`);
  }
}

export function callsOf(message: Message | undefined): ToolCallPart[] {
  return message?.role === "assistant" ? message.content.filter((part) => part.type === "tool-call") : [];
}

export function textIn(message: Message | undefined): string {
  return (message?.content ?? []).flatMap((part) => (part.type === "text" ? [part.text] : [])).join("");
}

/** How a message begins in which the runtime itself tells the model something. */
export const NOTICE = "<notice>";

export function noticeMessage(words: string): UserMessage {
  return userMessage(`${NOTICE}\n${words}\n</notice>`);
}

/** A result that stands in for one that never came. */
export function notRun({ callId, tool }: Pick<ToolCallPart, "callId" | "tool">, why: string): ToolResultPart {
  return { type: "tool-result", callId, tool, content: why, isError: true };
}

const LOST = "this call has no result: the conversation was broken off before it ended";

/**
 * The conversation with every call answered exactly once, in the next message: missing results are filled in, results without a call left out.
 * Providers refuse anything else, and a history that was cut anywhere must stay usable. Returns the same array where nothing is to mend.
 */
export function mended(messages: readonly Message[]): readonly Message[] {
  const whole = messages.every((one, i) => {
    const calls = callsOf(one);
    const next = messages[i + 1];
    const before = messages[i - 1];
    if (one.role === "tool" && callsOf(before).length === 0) return false;
    if (calls.length === 0) return one.content.length > 0;
    return next?.role === "tool" && next.content.length === calls.length && calls.every(({ callId }) => next.content.some((result) => result.callId === callId));
  });
  if (whole) return messages;
  return messages.flatMap((one, i): Message[] => {
    if (one.role === "tool" || one.content.length === 0) return [];
    const calls = callsOf(one);
    if (calls.length === 0) return [one];
    const next = messages[i + 1];
    const results = next?.role === "tool" ? next.content : [];
    return [one, { role: "tool", content: calls.map((call) => results.find(({ callId }) => callId === call.callId) ?? notRun(call, LOST)) }];
  });
}
