/** Owns mctl's view of the world: streams, environment, directory and Ctrl-C, so that tests can give it another. */

import type { Readable, Writable } from "node:stream";
import type { Fetch } from "../core/request.ts";

export interface Io {
  stdin: Readable & { isTTY?: boolean };
  stdout: Writable & { isTTY?: boolean; columns?: number };
  stderr: Writable & { isTTY?: boolean; columns?: number };
  env: Readonly<Record<string, string | undefined>>;
  cwd: string;
  home: string;
  /** Calls `handler` on every Ctrl-C until the returned function is called. */
  onInterrupt(handler: () => void): () => void;
  now(): number;
  fetch?: Fetch | undefined;
}

/** Exit codes: a user's mistake or a task that did not complete, a fault of the system, Ctrl-C. */
export const EXIT = { ok: 0, user: 1, fault: 2, interrupted: 130 } as const;

/** A mistake that the user can mend, or what they called off; `hint` says how. */
export class UserError extends Error {
  override name = "UserError";
  readonly hint: string | null;
  readonly code: number;
  constructor(message: string, hint: string | null = null, code: number = EXIT.user) {
    super(message);
    this.hint = hint;
    this.code = code;
  }
}
