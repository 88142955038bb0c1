/** Owns one permission request as a person decides on it: what exactly, how risky and why, and the answers there are. */

import { useState } from "preact/hooks";
import type { Permission, Scope } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { forget, mine } from "../store/permissions.ts";
import { ApiError } from "../../../sdk/index.ts";
import { CapForm } from "./cap-form.tsx";
import { notify, wordsOf } from "./notices.tsx";
import { plain } from "./format.ts";
import { Diff } from "./diff.tsx";

type Asked = Pick<Permission, "tool" | "input" | "summary" | "risk" | "reasons">;

/** Without the empty line behind the last end of line. */
const linesOf = (text: string) => text.replace(/\n$/, "").split("\n");

/** The change that an edit would make, as far as its input says. */
function editOf(input: unknown): string | null {
  if (typeof input !== "object" || input === null) return null;
  const { old_string: before, new_string: after, diff } = input as Record<string, unknown>;
  if (typeof diff === "string") return diff;
  if (typeof before !== "string" || typeof after !== "string") return null;
  return ["@@ -1 +1 @@", ...linesOf(before).map((line) => `-${line}`), ...linesOf(after).map((line) => `+${line}`)].join("\n");
}

export function Ask({ asked }: { asked: Asked }) {
  const edit = editOf(asked.input);
  return (
    <div class="ask">
      <p class="row"><b>{plain(asked.tool)}</b><span class={`badge risk-${asked.risk}`}>{asked.risk} risk</span></p>
      <pre class="ask-summary" dir="ltr" tabIndex={0}>{plain(asked.summary)}</pre>
      {edit !== null && <Diff diff={edit} />}
      {asked.reasons.length > 0 && <p class="hint">{asked.reasons.map(plain).join("; ")}</p>}
      <details><summary>Whole input</summary><pre class="sunken" tabIndex={0}>{plain(JSON.stringify(asked.input, null, 2))}</pre></details>
    </div>
  );
}

/** Sends the answer; what someone else answered in the meantime is said and goes. */
export async function answer(id: string, decision: { allow: true; scope: Scope; reason?: string | undefined } | { allow: false; reason?: string | undefined }): Promise<void> {
  // The word of it may come over the bus before the answer does.
  mine.add(id);
  try {
    if (decision.allow) await client.permissions.approve(id, { scope: decision.scope, ...(decision.reason && { reason: decision.reason }) });
    else await client.permissions.deny(id, decision.reason ? { reason: decision.reason } : {});
    forget(id);
  } catch (error) {
    if (error instanceof ApiError && error.code === "conflict") {
      forget(id);
      notify("Someone else has answered this already");
    } else {
      mine.delete(id);
      notify(wordsOf(error), "failed");
    }
  }
}

const APPROVALS: readonly { scope: Scope; name: string; title: string }[] = [
  { scope: "once", name: "Approve", title: "This call only" },
  { scope: "turn", name: "For the turn", title: "Calls like this until the task ends" },
  { scope: "session", name: "For the session", title: "Calls like this until the session ends" },
];

/** At once: `autofocus` comes with the next frame, and a key pressed before it would be a command. */
const focused = (element: HTMLElement | null) => element?.focus();

/** The answers. */
export function Answers({ id, asked }: { id: string; asked: Pick<Permission, "tool" | "input"> }) {
  const [busy, setBusy] = useState(false);
  const [denying, setDenying] = useState(false);
  const [reason, setReason] = useState("");
  const send = (decision: Parameters<typeof answer>[1]) => {
    setBusy(true);
    void answer(id, decision).finally(() => setBusy(false));
  };
  if (denying) {
    return (
      <form class="row answers denial" onSubmit={(event) => { event.preventDefault(); send({ allow: false, reason: reason.trim() || undefined }); }}>
        <input aria-label="Why not (the agent reads it)" placeholder="Why not? The agent reads it." value={reason} onInput={(event) => setReason(event.currentTarget.value)} maxLength={2_000} ref={focused} />
        <button type="submit" class="danger" disabled={busy}>Deny</button>
        <button type="button" class="quiet" onClick={() => setDenying(false)}>Back</button>
      </form>
    );
  }
  if (asked.tool === "budget") return <CapForm id={id} input={asked.input} onDeny={() => setDenying(true)} />;
  return (
    <div class="row answers">
      {APPROVALS.map(({ scope, name, title }) => <button key={scope} type="button" class={scope === "once" ? "primary" : ""} title={title} disabled={busy} onClick={() => send({ allow: true, scope })}>{name}</button>)}
      <button type="button" class="danger" disabled={busy} onClick={() => setDenying(true)}>Deny …</button>
    </div>
  );
}
