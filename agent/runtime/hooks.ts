/** Owns the hooks of a turn: where its caller may look at a tool call or a subagent before it runs, and say no. */

export type Verdict = { allow: true } | { allow: false; reason: string };

export interface CallAsked {
  callId: string;
  tool: string;
  /** Checked against the tool's schema. */
  input: unknown;
  /** Names of the subagents that the call comes from, outermost first; empty for the agent itself. */
  path: readonly string[];
  /** Ids of the `task` calls that started them, in the same order. */
  parents: readonly string[];
  signal: AbortSignal;
}

export interface SubagentAsked {
  callId: string;
  name: string;
  prompt: string;
  path: readonly string[];
  signal: AbortSignal;
}

/** Answering nothing allows. A hook may take as long as it likes; one that throws is taken for a no. */
export interface Hooks {
  onToolCall?: ((call: CallAsked) => Promise<Verdict | void> | Verdict | void) | undefined;
  onSubagentRun?: ((run: SubagentAsked) => Promise<Verdict | void> | Verdict | void) | undefined;
}

/** The hook's verdict; null where it allows. Gives up, with a no, when the signal aborts. */
export async function vetoed<T extends { signal: AbortSignal }>(hook: ((asked: T) => Promise<Verdict | void> | Verdict | void) | undefined, asked: T): Promise<string | null> {
  if (!hook) return null;
  const { signal } = asked;
  if (signal.aborted) return CANCELED;
  let stop: () => void = () => {};
  const aborted = new Promise<Verdict>((resolve) => {
    stop = () => resolve({ allow: false, reason: CANCELED });
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    const verdict: unknown = await Promise.race([aborted, (async () => hook(asked))()]);
    if (verdict === undefined || verdict === null || verdict === true) return null;
    // Whatever else it says without the compiler's leave, such as `false`, is no yes.
    const { allow, reason } = verdict as { allow?: unknown; reason?: unknown };
    return allow === true ? null : typeof reason === "string" && reason !== "" ? reason : "the hook that decides about this said no";
  } catch (error) {
    return `the hook that decides about this failed: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

const CANCELED = "the turn was canceled";
