/** Owns the connection to one MCP server: made when it is needed, made anew after the server died, and no call of it waits without end. */

import type { Client } from "@modelcontextprotocol/sdk/client/index.js";
import type { SecretValue } from "../sandbox/contracts.ts";
import { McpServerError, type HttpServer, type McpServerOptions, type StdioServer } from "./options.ts";

const STDERR_CHARS = 500;
/** Until a server has begun, and then until it has said its tools. */
export const CONNECT_MS = 20_000;

interface Live {
  client: Client;
  /** What the server said last on its stderr. */
  tail(): string;
  gone: boolean;
}

export class McpConnection {
  readonly name: string;
  readonly #options: McpServerOptions;
  #live: Promise<Live> | null = null;
  #closed = false;

  constructor(options: McpServerOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** Runs `work` with a client that is connected. Failures are told as `McpServerError`; after one of the connection the next call makes another. */
  async use<T>(work: (client: Client) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const live = await this.#connected();
    try {
      return await work(live.client);
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#told(error, live);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const live = await this.#live?.catch(() => null);
    this.#live = null;
    await live?.client.close().catch(() => {});
  }

  async #connected(): Promise<Live> {
    const before = this.#live;
    const known = await before?.catch(() => null);
    if (this.#closed) throw new McpServerError(`the MCP server ${this.name} was closed`);
    if (known && !known.gone) return known;
    // Of several who find it gone one begins another, and all wait for that.
    if (this.#live === before) {
      this.#live = this.#connect();
      // What is left of the old one, such as a stream that it still listens on.
      void known?.client.close().catch(() => {});
    }
    return this.#live ?? this.#connected();
  }

  async #connect(): Promise<Live> {
    const { server, connectTimeoutMs: timeout = CONNECT_MS } = this.#options;
    const sdk = await library();
    const client = new sdk.Client({ name: "marco", version: "1.0.0" });
    let said = "";
    const live: Live = { client, tail: () => said.trim(), gone: false };
    const transport = "command" in server ? sdk.stdio(server, (text) => (said = (said + text).slice(-STDERR_CHARS))) : sdk.http(server);
    // The SDK's hook is a property; it is no event target.
    Object.assign(client, { onclose: () => (live.gone = true) });
    try {
      // The transport's own start may hang as well as the handshake.
      await within(client.connect(transport, { timeout }), timeout);
      return live;
    } catch (error) {
      live.gone = true;
      await within(client.close(), 3_000).catch(() => {});
      throw this.#told(error, live);
    }
  }

  #told(error: unknown, live: Live): McpServerError {
    if (error instanceof McpServerError) return error;
    const message = error instanceof Error ? error.message : String(error);
    const code = (error as { code?: unknown }).code;
    const words = live.tail() === "" ? "" : `; its last words: ${live.tail()}`;
    if (code === TIMED_OUT || error instanceof TimeoutError) return new McpServerError(`the MCP server ${this.name} did not answer in time${words}. It may hang: try once more, or go on without it.`, { cause: error });
    // Over HTTP nobody tells that the server ended; one that was begun anew knows nothing of our session, and says so by one of these.
    const unreachable = /fetch failed/.test(message);
    if (live.gone || unreachable || code === CLOSED || code === "ENOENT" || code === "EPIPE" || code === 400 || code === 404) {
      live.gone = true;
      const why = code === "ENOENT" ? "cannot be started: there is no such program" : code === 400 || code === 404 ? `knows our session no more (${message.slice(0, 500)})` : `has ended or cannot be reached${unreachable ? ` (${causeOf(error)})` : words}`;
      return new McpServerError(`the MCP server ${this.name} ${why}. The next call starts it anew; if that fails too, go on without it.`, { cause: error });
    }
    return new McpServerError(`the MCP server ${this.name} refused: ${message.slice(0, 2_000)}`, { cause: error });
  }
}

/** Codes of the protocol's errors in the SDK: `ErrorCode.RequestTimeout`, `ErrorCode.ConnectionClosed`. */
const TIMED_OUT = -32_001;
const CLOSED = -32_000;

class TimeoutError extends Error {}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TimeoutError("timed out")), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function causeOf(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause !== undefined) inner = inner.cause;
  return inner instanceof Error ? inner.message : String(inner);
}

const revealed = (values: Readonly<Record<string, string | SecretValue>> = {}) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, typeof value === "string" ? value : value.reveal()]));

/** The official SDK, loaded when the first server is connected. */
async function library() {
  try {
    const [{ Client }, { StdioClientTransport, getDefaultEnvironment }, { StreamableHTTPClientTransport }] = await Promise.all([
      import("@modelcontextprotocol/sdk/client/index.js"), import("@modelcontextprotocol/sdk/client/stdio.js"), import("@modelcontextprotocol/sdk/client/streamableHttp.js"),
    ]);
    return {
      Client,
      stdio({ command, args = [], env, cwd }: StdioServer, said: (text: string) => void) {
        const transport = new StdioClientTransport({ command, args: [...args], env: { ...getDefaultEnvironment(), ...revealed(env) }, stderr: "pipe", ...(cwd !== undefined && { cwd }) });
        transport.stderr?.on("data", (bytes: Buffer) => said(bytes.toString()));
        return transport;
      },
      http: ({ url, headers }: HttpServer) => new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: revealed(headers) } }),
    };
  } catch (error) {
    throw new McpServerError("MCP servers need the package @modelcontextprotocol/sdk: npm install @modelcontextprotocol/sdk", { cause: error });
  }
}
