import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { textOf, type Tool, type ToolResult } from "../tool.ts";
import { McpServerError, type HttpServer, type StdioServer } from "./options.ts";
import { fromMcpServer, type McpTools } from "./server.ts";

const fixture = join(import.meta.dirname, "fixture.mjs");
const stdio = (...args: string[]): StdioServer => ({ command: process.execPath, args: [fixture, ...args], env: { GIVEN: { reveal: () => "secret" } } });

async function call(tools: readonly Tool[], name: string, input: unknown = {}, signal: AbortSignal = new AbortController().signal, progress: (text: string) => void = () => {}): Promise<ToolResult> {
  const tool = tools.find((each) => each.name === `fix__${name}`);
  if (tool === undefined) throw new Error(`no tool ${name}`);
  const parsed = tool.parse(input);
  if (!parsed.ok) return { content: parsed.issues.join("; "), isError: true };
  try {
    const result = await tool.execute(parsed.value, { callId: "1", signal, progress });
    return typeof result === "string" ? { content: result } : result;
  } catch (error) {
    if (!(error instanceof McpServerError) && !signal.aborted) throw error;
    return { content: error instanceof Error ? error.message : "", isError: true };
  }
}
const said = async (...args: Parameters<typeof call>) => textOf((await call(...args)).content);

describe.each(["stdio", "http"])("an MCP server over %s", (kind) => {
  let endHttp = async () => {};
  let port = "0";
  const beginHttp = async () => {
    const http = spawn(process.execPath, [fixture, "--http"], { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, PORT: port } });
    const [told] = (await once(http.stdout ?? process.stdin, "data")) as [Buffer];
    const exited = once(http, "exit");
    endHttp = async () => {
      http.kill("SIGKILL");
      await exited;
    };
    return (port = told.toString().trim());
  };
  let server: StdioServer | HttpServer = stdio();
  let mcp: McpTools;
  let tools: readonly Tool[];

  beforeAll(async () => {
    if (kind === "http") server = { url: `http://127.0.0.1:${await beginHttp()}/mcp`, headers: { authorization: { reveal: () => "Bearer t0ken" } } };
    mcp = await fromMcpServer({ name: "fix", server, callTimeoutMs: 1_500 });
    ({ tools } = mcp);
  });
  afterAll(async () => {
    await mcp?.close();
    await endHttp();
  });

  it("gives its tools, under names that models take", async () => {
    expect(mcp.warnings).toEqual([]);
    expect(tools.map(({ name }) => name)).toContain("fix__odd_name");
    expect(tools.find(({ name }) => name === "fix__add")).toMatchObject({ description: "Adds two numbers.", inputSchema: { type: "object", required: ["a", "b"] } });
    expect(await said(tools, "add", { a: 1, b: 2 })).toBe("3");
    expect(await said(tools, "odd_name")).toBe("odd");
  });
  it("checks input before it is sent", async () => {
    expect(await call(tools, "add", { a: "x", b: 2 })).toMatchObject({ isError: true, content: expect.stringContaining("a: ") as string });
  });
  it("tells failures, pictures, progress and what is not shown", async () => {
    expect(await call(tools, "fail")).toMatchObject({ isError: true, content: [{ text: "it did not work" }] });
    expect((await call(tools, "picture")).content).toEqual([{ type: "text", text: "[audio audio/wav, not shown]\n[resource_link file:///a, not shown]" }, { type: "image", data: "iVBORw0KGgo=", mediaType: "image/png" }]);
    const steps: string[] = [];
    expect(await said(tools, "steps", {}, undefined, (text) => { steps.push(text); void said(tools, "proceed"); })).toBe("done");
    expect(steps).toEqual(["half\n"]);
  });
  it("bounds what it says", async () => {
    expect((await said(tools, "much")).length).toBeLessThan(60_000);
  });
  it("is not waited for without end, and works on", async () => {
    expect(await call(tools, "hang")).toMatchObject({ isError: true, content: expect.stringContaining("did not answer in time") as string });
    expect(await said(tools, "add", { a: 2, b: 2 })).toBe("4");
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 50);
    expect(await call(tools, "hang", {}, stop.signal)).toMatchObject({ isError: true });
    expect(await said(tools, "add", { a: 2, b: 3 })).toBe("5");
  });
  it.runIf(kind === "stdio")("that dies says why, and is begun anew", async () => {
    expect(await said(tools, "die")).toMatch(/has ended.*last words: fatal: out of luck/s);
    const pids = await Promise.all([said(tools, "pid"), said(tools, "pid"), said(tools, "pid")]);
    expect(new Set(pids).size).toBe(1);
  });
  it.runIf(kind === "stdio")("gets the variables that it was given, and no keys of ours", async () => {
    process.env["MARCO_SECRET_KEY"] = "ours";
    const own = await fromMcpServer({ name: "fix", server });
    const env = await said(own.tools, "env");
    await own.close();
    delete process.env["MARCO_SECRET_KEY"];
    expect(env).toContain('"GIVEN":"secret"');
    expect(env).not.toContain("MARCO_SECRET_KEY");
  });
  it.runIf(kind === "http")("that is gone is told as such, and is connected anew when it is back, also where it knows the session no more", async () => {
    await endHttp();
    expect(await call(tools, "add", { a: 1, b: 1 })).toMatchObject({ isError: true, content: expect.stringContaining("MCP server fix has ended or cannot be reached") as string });
    await beginHttp();
    expect(await said(tools, "add", { a: 1, b: 1 })).toBe("2");
    await endHttp();
    await beginHttp();
    expect(await call(tools, "add", { a: 1, b: 1 })).toMatchObject({ isError: true });
    expect(await said(tools, "add", { a: 1, b: 2 })).toBe("3");
  });
});

describe("an MCP server that cannot be begun", () => {
  it.each([
    ["is no program", { command: "/no/such/program" }, "no such program"],
    ["ends at once", stdio("--crash"), "no configuration"],
    ["says nothing", stdio("--silent"), "did not answer in time"],
    ["does not listen", { url: "http://127.0.0.1:1/mcp" }, "MCP server bad"],
  ] as const)("%s is told in words", async (_, server, words) => {
    const error = await fromMcpServer({ name: "bad", server, connectTimeoutMs: 1_000 }).then(() => null, (thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(McpServerError);
    expect(String(error)).toContain(words);
  });
});
