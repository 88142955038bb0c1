/** Owns an MCP server for tests: over stdio by default, over HTTP with `--http`, with tools that behave badly on purpose. */

import { createServer } from "node:http";
import { randomUUID } from "node:crypto";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import * as z from "zod";

function server() {
  const mcp = new McpServer({ name: "fixture", version: "1.0.0" });
  const text = (value) => ({ content: [{ type: "text", text: value }] });
  mcp.registerTool("add", { description: "Adds two numbers.", inputSchema: { a: z.number(), b: z.number() } }, ({ a, b }) => text(String(a + b)));
  mcp.registerTool("env", { description: "Its variables.", inputSchema: {} }, () => text(JSON.stringify(process.env)));
  mcp.registerTool("pid", { description: "Its process.", inputSchema: {} }, () => text(String(process.pid)));
  mcp.registerTool("fail", { description: "Fails.", inputSchema: {} }, () => ({ ...text("it did not work"), isError: true }));
  mcp.registerTool("hang", { description: "Never answers.", inputSchema: {} }, () => new Promise(() => {}));
  mcp.registerTool("die", { description: "Ends the server.", inputSchema: {} }, () => {
    process.stderr.write("fatal: out of luck\n");
    setTimeout(() => process.exit(3), 10);
    return new Promise(() => {});
  });
  mcp.registerTool("much", { description: "Says very much.", inputSchema: {} }, () => text("x".repeat(3_000_000)));
  mcp.registerTool("picture", { description: "Shows.", inputSchema: {} }, () => ({ content: [{ type: "image", data: "iVBORw0KGgo=", mimeType: "image/png" }, { type: "audio", data: "AAAA", mimeType: "audio/wav" }, { type: "resource_link", uri: "file:///a", name: "a" }] }));
  mcp.registerTool("odd.name", { description: "Odd.", inputSchema: {} }, () => text("odd"));
  let proceed = () => {};
  // What comes in one piece with the answer is told after it, and then to nobody: so the answer waits until the step was heard.
  mcp.registerTool("steps", { description: "Tells progress.", inputSchema: {} }, async (_, { _meta, sendNotification }) => {
    const heard = new Promise((resolve) => (proceed = resolve));
    await sendNotification({ method: "notifications/progress", params: { progressToken: _meta.progressToken, progress: 1, total: 2, message: "half" } });
    await heard;
    return text("done");
  });
  mcp.registerTool("proceed", { description: "Lets steps go on.", inputSchema: {} }, () => (proceed(), text("ok")));
  return mcp;
}

if (process.argv.includes("--silent")) setInterval(() => {}, 1_000);
else if (process.argv.includes("--crash")) {
  process.stderr.write("no configuration\n");
  process.exit(1);
} else if (process.argv.includes("--http")) {
  const transports = new Map();
  const answer = async (request, response) => {
    if (request.headers.authorization !== "Bearer t0ken") return response.writeHead(401).end();
    let transport = transports.get(request.headers["mcp-session-id"]);
    if (!transport) {
      transport = new StreamableHTTPServerTransport({ sessionIdGenerator: randomUUID, onsessioninitialized: (id) => transports.set(id, transport) });
      await server().connect(transport);
    }
    return transport.handleRequest(request, response);
  };
  const http = createServer((request, response) => void answer(request, response));
  http.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => process.stdout.write(`${http.address().port}\n`));
} else await server().connect(new StdioServerTransport());
