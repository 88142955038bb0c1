/** Owns a caller of the model gateway: a session whose runner is the test itself, and the key that its agent would have. */

import { gatewayKey, gatewayToken, session as sessionSchema, type Session, type SpawnSpec } from "../../sdk/protocol/index.ts";
import type { ModelServer } from "./model-server/index.ts";
import { RawRunner } from "./raw-runner.ts";
import { startSpecHost, type SpecHost } from "./spec-host.ts";
import type { Stack } from "./stack.ts";

export interface GatewayCaller {
  session: Session;
  spec: SpawnSpec;
  key: string;
  /** POSTs JSON to a path below `/gateway`, with the agent's key where Anthropic's clients put it, or `bearer`. */
  post(path: string, body: unknown, init?: RequestInit & { bearer?: boolean }): Promise<Response>;
  /** The session as it is now. */
  now(): Promise<Session>;
}

export const ANTHROPIC_KEY = "sk-ant-test-needle-4f1c0a7b2d9e8c";
export const OPENAI_KEY = "sk-test-needle-93b0c1d2e4f5a6";

/** A session with the model server's key (BYOK), its runner being the test. */
export async function gatewayCaller(stack: Stack, host: SpecHost, model: ModelServer | null, params: Record<string, unknown> = {}): Promise<GatewayCaller> {
  const session = await stack.api.post("/sessions", { agent: "raw", ...(model && { api_key: ANTHROPIC_KEY, base_url: model.anthropic }), ...params }, sessionSchema);
  const spec = await host.spec(session.id);
  const key = gatewayKey(await gatewayToken(spec.run_token), session.id);
  return {
    session, spec, key,
    post: (path, body, { bearer = false, headers, ...init } = {}) =>
      fetch(`${stack.url}/gateway${path}`, {
        method: "POST", body: typeof body === "string" ? body : JSON.stringify(body),
        headers: { "content-type": "application/json", "anthropic-version": "2023-06-01", ...(bearer ? { authorization: `Bearer ${key}` } : { "x-api-key": key }), ...(headers as Record<string, string> | undefined) }, ...init,
      }),
    now: () => stack.api.get(`/sessions/${session.id}`, sessionSchema),
  };
}

/** A host that spawns nothing, in the stack's first tenant. */
export async function callerHost(stack: Stack): Promise<SpecHost> {
  return startSpecHost(stack.url, (await stack.admin.createRunnerToken(stack.tenantId, "gateway callers")).token);
}

/** A runner that has said hello, so that tasks run. */
export function runnerOf(stack: Stack, { spec }: GatewayCaller): Promise<RawRunner> {
  return RawRunner.welcomed(stack.url, spec);
}
