/** Owns what the pictures inside a request weigh: their base64 has far more bytes than the provider counts tokens for them. Pure. */

import type { ModelApi } from "../../sdk/protocol/index.ts";
import { fields, type Fields } from "./fields.ts";

/** Most that a picture of any size costs anywhere, in tokens: providers make it smaller before they look at it. */
export const PICTURE_TOKENS = 20_000;

const list = (value: unknown): Fields[] => (Array.isArray(value) ? value.map(fields) : []);

/** Characters of an address that holds a picture itself. */
const inlined = (value: unknown): number => (typeof value === "string" && /^data:image\/[a-z0-9.+-]+;base64,/i.test(value) ? value.length : 0);

function ofBlock(block: Fields): number {
  const source = fields(block["source"]);
  if (block["type"] === "image" && source["type"] === "base64" && typeof source["data"] === "string" && String(source["media_type"]).startsWith("image/")) return source["data"].length;
  if (block["type"] === "image_url") return inlined(fields(block["image_url"])["url"]);
  return block["type"] === "input_image" || block["type"] === "computer_screenshot" ? inlined(block["image_url"]) : 0;
}

/**
 * Characters of each picture that stands in a request where its provider looks for pictures, and only there: the same text elsewhere (in a prompt, in a
 * tool's input) is read as text, and costs as much.
 */
export function picturesOf(api: ModelApi, body: Readonly<Fields>): number[] {
  const turns = list(api === "openai.responses" ? body["input"] : api === "other" ? [] : body["messages"]);
  const blocks = turns.flatMap((turn) => [...list(turn["content"]), ...(api === "openai.responses" ? [...list(turn["output"]), fields(turn["output"])] : [])]);
  const results = api === "anthropic.messages" ? blocks.flatMap((block) => (block["type"] === "tool_result" ? list(block["content"]) : [])) : [];
  return [...blocks, ...results].map(ofBlock).filter((size) => size > 0);
}
