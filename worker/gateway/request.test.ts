import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import type { ModelApi } from "../../sdk/protocol/index.ts";
import { largestOf } from "./estimate.ts";
import { priceOf } from "./prices.ts";
import { factsOf } from "./request.ts";

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const sizeOf = async (api: ModelApi, body: object) => (await factsOf(api, bytes(body), null)).size;
const DATA = "iVBORw0K".repeat(50_000);
const URL = `data:image/png;base64,${DATA}`;
const source = { type: "base64", media_type: "image/png", data: DATA };

describe("the most that a request can cost", () => {
  const turn = (content: unknown) => ({ model: "m", max_tokens: 1_000, messages: [{ role: "user", content }] });
  const input = (...items: object[]) => ({ model: "m", max_output_tokens: 1_000, input: items });

  it.each<[string, ModelApi, object]>([
    ["Anthropic's", "anthropic.messages", turn([{ type: "text", text: "see" }, { type: "image", source }])],
    ["a tool's result", "anthropic.messages", turn([{ type: "tool_result", tool_use_id: "t", content: [{ type: "image", source }] }])],
    ["a chat's", "openai.chat", turn([{ type: "image_url", image_url: { url: URL } }])],
    ["a response's", "openai.responses", input({ role: "user", content: [{ type: "input_image", image_url: URL }] })],
    ["a function's output", "openai.responses", input({ type: "function_call_output", call_id: "c", output: [{ type: "input_image", image_url: URL }] })],
    ["a computer's output", "openai.responses", input({ type: "computer_call_output", output: { type: "computer_screenshot", image_url: URL } })],
  ])("takes a picture for a picture, not for its base64: %s", async (_, api, body) => {
    const { tokens } = largestOf(await sizeOf(api, body), priceOf(null, []));
    expect(tokens).toBeGreaterThan(20_000);
    expect(tokens).toBeLessThan(22_000);
  });

  it.each<[string, ModelApi, object]>([
    ["a text", "anthropic.messages", turn([{ type: "text", text: URL }])],
    ["a tool's input", "anthropic.messages", turn([{ type: "tool_use", id: "t", name: "n", input: { type: "image", source } }])],
    ["a tool's schema", "anthropic.messages", { ...turn("hi"), tools: [{ name: "n", input_schema: { type: "image", source } }] }],
    ["a document", "anthropic.messages", turn([{ type: "document", source: { ...source, media_type: "application/pdf" } }])],
    ["another wire's block", "anthropic.messages", turn([{ type: "input_image", image_url: { type: "image", source } }])],
    ["a call's arguments", "openai.responses", input({ type: "function_call", arguments: URL })],
  ])("takes what only looks like a picture for the text it is: %s", async (_, api, body) => {
    expect((await sizeOf(api, body)).bytes).toBe(bytes(body).byteLength);
  });

  it("weighs a small picture by its bytes, and every picture by itself", async () => {
    const small = { type: "image", source: { ...source, data: "AAAA" } };
    expect((await sizeOf("anthropic.messages", turn([small]))).bytes).toBe(bytes(turn([small])).byteLength);
    const one = await sizeOf("anthropic.messages", turn([{ type: "image", source }]));
    const three = await sizeOf("anthropic.messages", turn(Array.from({ length: 3 }, () => ({ type: "image", source }))));
    expect(three.bytes).toBeGreaterThan(one.bytes + 2 * 40_000);
  });

  it("is of the body as it is unpacked, in bytes", async () => {
    const body = turn("文字".repeat(5_000));
    const packed = new Uint8Array(gzipSync(bytes(body)));
    expect((await factsOf("anthropic.messages", packed, "gzip")).size.bytes).toBe(bytes(body).byteLength);
  });

  it("holds the larger of two limits, what is named, and what the provider keeps", async () => {
    expect(await sizeOf("openai.chat", { model: "m", max_completion_tokens: 1, max_tokens: 9_000, messages: [] })).toMatchObject({ max_output_tokens: 9_000, linked: 0, stored: false });
    expect(await sizeOf("openai.responses", input({ role: "user", content: [{ type: "input_file", file_id: "file_1" }, { type: "input_image", image_url: "https://example.org/a.png" }] }))).toMatchObject({ linked: 2 });
    const kept = await sizeOf("openai.responses", { ...input(), previous_response_id: "resp_1" });
    expect(largestOf(kept, priceOf(null, [])).tokens).toBeGreaterThan(400_000);
    expect((await sizeOf("openai.responses", { ...input(), previous_response_id: null })).stored).toBe(false);
  });
});
