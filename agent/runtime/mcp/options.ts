/** Owns what is said of an MCP server, and how its failures are called. Names nothing of the SDK, which who does without MCP has not installed. */

import type { SecretValue } from "../sandbox/contracts.ts";

export interface StdioServer {
  /** A program of the machine that the runtime runs on, not of the sandbox. */
  command: string;
  args?: readonly string[] | undefined;
  /** Beside the few variables that programs need to work; the runtime's own keys are not passed on. */
  env?: Readonly<Record<string, string | SecretValue>> | undefined;
  cwd?: string | undefined;
}

export interface HttpServer {
  /** Of the streamable HTTP transport. */
  url: string;
  headers?: Readonly<Record<string, string | SecretValue>> | undefined;
}

export interface McpServerOptions {
  /** Begins the names of its tools. */
  name: string;
  server: StdioServer | HttpServer;
  /** Milliseconds until it must have begun and said its tools; 20 seconds where absent. */
  connectTimeoutMs?: number | undefined;
  /** Milliseconds for a call without progress; 2 minutes where absent. */
  callTimeoutMs?: number | undefined;
}

/** An expected failure, in words for the model. */
export class McpServerError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "McpServerError";
  }
}
