/** Owns the page's one client and the calls that only the page makes: signing in and out. */

import { Marionette, type ApiKey } from "../../sdk/index.ts";

export const client = new Marionette({ url: location.origin, cookie: true });

export interface SignedIn {
  tenant_id: string;
  key: Pick<ApiKey, "id" | "name" | "scopes" | "expires_at">;
}

/** What the server says where it refuses to sign in; `status` 0: it could not be reached. */
export class SignInError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function call(method: "GET" | "POST", path: string, body?: unknown): Promise<SignedIn> {
  const headers: Record<string, string> = { "x-marionette-page": "1", ...(body !== undefined && { "content-type": "application/json" }) };
  let response: Response;
  try {
    response = await fetch(path, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
  } catch {
    throw new SignInError(0, "The server cannot be reached");
  }
  const answer = (await response.json().catch(() => null)) as (SignedIn & { error?: { message: string; hint?: string } }) | null;
  if (!response.ok || !answer) throw new SignInError(response.status, [answer?.error?.message ?? `The server answered ${response.status}`, answer?.error?.hint].filter(Boolean).join(". "));
  return answer;
}

export const signIn = (apiKey: string): Promise<SignedIn> => call("POST", "/auth/sign-in", { api_key: apiKey });
export const whoAmI = (): Promise<SignedIn> => call("GET", "/auth/me");
export const signOut = (): Promise<SignedIn> => call("POST", "/auth/sign-out");
