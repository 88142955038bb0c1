/** Owns making an MCP server's tools the agent's: named after the server, bounded, and with failures that the model can read. */

import { HeadTail, clipped } from "../tools/bounded.ts";
import { toolFromJsonSchema, type JsonSchema, type Tool, type ToolContext, type ToolPart, type ToolResult } from "../tool.ts";
import { CONNECT_MS, McpConnection } from "./connection.ts";
import type { McpServerOptions } from "./options.ts";

const CALL_MS = 120_000;
const MAX_TOOLS = 200;
const MAX_PAGES = 20;
const MAX_DESCRIPTION_CHARS = 4_000;
const MAX_IMAGES = 10;
const MAX_IMAGE_CHARS = 7 * 1024 * 1024;
const NAME_CHARS = 64;

export interface McpTools {
  readonly tools: readonly Tool[];
  /** What is not as it should be, in words: tools that were left out. */
  readonly warnings: readonly string[];
  /** Ends the server, or the connection to it. */
  close(): Promise<void>;
}

/**
 * Connects to a server over stdio or HTTP and answers its tools. Throws `McpServerError` where it cannot be begun in time; one that hangs or dies later
 * fails its calls in words, and is begun anew by the next.
 */
export async function fromMcpServer(options: McpServerOptions): Promise<McpTools> {
  const connection = new McpConnection(options);
  const { connectTimeoutMs = CONNECT_MS, callTimeoutMs = CALL_MS } = options;
  try {
    const warnings: string[] = [];
    const listed = await connection.use(async (client) => {
      if (client.getServerCapabilities()?.tools === undefined) return [];
      const all: Listed[] = [];
      let cursor: string | undefined;
      for (let page = 0; page < MAX_PAGES; page++) {
        const { tools, nextCursor } = await client.listTools(cursor === undefined ? undefined : { cursor }, { timeout: connectTimeoutMs });
        all.push(...tools);
        cursor = nextCursor;
        if (cursor === undefined || all.length > MAX_TOOLS) break;
      }
      return all;
    });
    if (listed.length > MAX_TOOLS) warnings.push(`the MCP server ${options.name} has more than ${MAX_TOOLS} tools; the rest is left out`);
    const names = new Set<string>();
    const tools = listed.slice(0, MAX_TOOLS).flatMap((tool) => {
      const name = nameOf(options.name, tool.name);
      if (names.has(name)) {
        warnings.push(`the MCP server ${options.name} has two tools that are called ${name} here; the second is left out`);
        return [];
      }
      names.add(name);
      return [toolOf(connection, name, tool, callTimeoutMs)];
    });
    return { tools, warnings, close: () => connection.close() };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

interface Listed {
  name: string;
  description?: string | undefined;
  inputSchema: JsonSchema;
}

function nameOf(server: string, tool: string): string {
  return `${server}__${tool}`.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, NAME_CHARS);
}

function toolOf(connection: McpConnection, name: string, { name: own, description, inputSchema }: Listed, timeout: number): Tool {
  return toolFromJsonSchema({
    name,
    description: clipped(description?.toWellFormed() ?? `The tool ${own} of the MCP server ${connection.name}.`, MAX_DESCRIPTION_CHARS),
    inputSchema,
    async execute(input, context) {
      const result = await connection.use((client) => client.callTool({ name: own, arguments: input }, undefined, { timeout, signal: context.signal, resetTimeoutOnProgress: true, maxTotalTimeout: timeout * 10, onprogress: (progress) => told(progress, context) }), context.signal);
      return resultOf(result);
    },
  });
}

function told({ message, progress, total }: { message?: string | undefined; progress: number; total?: number | undefined }, context: ToolContext): void {
  context.progress(`${message ?? `${progress}${total === undefined ? "" : ` of ${total}`}`}\n`);
}

/** Texts bounded together; images as they are; what models cannot take is named. */
function resultOf(result: { [key: string]: unknown }): ToolResult {
  const parts: ToolPart[] = [];
  const text = new HeadTail(30_000, 20_000);
  const say = (words: string) => text.push(`${text.length === 0 ? "" : "\n"}${words}`);
  for (const part of Array.isArray(result["content"]) ? (result["content"] as Record<string, unknown>[]) : []) {
    const { type, data, mimeType, resource, uri } = part;
    if (type === "text" && typeof part["text"] === "string") say(part["text"]);
    else if (type === "image" && typeof data === "string" && typeof mimeType === "string" && parts.length < MAX_IMAGES && data.length <= MAX_IMAGE_CHARS) parts.push({ type: "image", data, mediaType: mimeType });
    else if (type === "resource" && typeof resource === "object" && resource !== null && "text" in resource && typeof resource.text === "string") say(resource.text);
    else say(`[${String(type)}${typeof uri === "string" ? ` ${clipped(uri, 500)}` : ""}${typeof mimeType === "string" ? ` ${clipped(mimeType, 100)}` : ""}, not shown]`);
  }
  if (text.length === 0 && parts.length === 0 && result["structuredContent"] !== undefined) say(JSON.stringify(result["structuredContent"]));
  const words = text.toString() || (parts.length === 0 ? "[no content]" : "");
  return { content: [...(words === "" ? [] : [{ type: "text" as const, text: words }]), ...parts], isError: result["isError"] === true };
}
