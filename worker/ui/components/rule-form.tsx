/** Owns answering a request by a rule: the rule is seen, may be changed, and is tried on this very call before it is saved. */

import { useState } from "preact/hooks";
import type { Permission, Rule } from "../../../sdk/index.ts";
import { decide } from "../../../sdk/protocol/decide.ts";
import { client } from "../client.ts";
import { plain } from "./format.ts";
import { wordsOf } from "./notices.tsx";
import { answer } from "./permission-card.tsx";

/** As narrow as it can be: this tool and this very subject. */
function proposed({ tool, summary }: Permission): Rule {
  return { tool, pattern: summary.slice(0, 1_000) || "*", verdict: "allow" };
}

export function RuleForm({ permission, onDone }: { permission: Permission; onDone: () => void }) {
  const [rule, setRule] = useState<Rule>(() => proposed(permission));
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<string | null>(null);
  const { verdict, reasons } = decide({ tool: permission.tool, input: permission.input }, { rules: [rule], edit_mode: "off", place: { workspace: "/workspace", home: "/home/agent" } });

  async function save(): Promise<void> {
    setBusy(true);
    setFault(null);
    try {
      const session = await client.sessions.get(permission.session_id);
      await client.sessions.update(session.id, { rules: [...session.rules, rule] });
      await answer(permission.id, rule.verdict === "deny" ? { allow: false, reason: rule.reason } : { allow: true, scope: "once" });
      onDone();
    } catch (error) {
      setFault(wordsOf(error));
      setBusy(false);
    }
  }
  return (
    <form class="rule-form stack" onSubmit={(event) => { event.preventDefault(); void save(); }}>
      <div class="columns">
        <label>Tool<input value={rule.tool ?? ""} onInput={(event) => setRule({ ...rule, tool: event.currentTarget.value || undefined })} placeholder="any" /></label>
        <label>Says<select value={rule.verdict} onChange={(event) => setRule({ ...rule, verdict: event.currentTarget.value as Rule["verdict"] })}><option value="allow">allow</option><option value="deny">deny</option></select></label>
      </div>
      <label>Pattern<input class="mono" value={rule.pattern ?? ""} onInput={(event) => setRule({ ...rule, pattern: event.currentTarget.value || undefined })} placeholder="anything" spellcheck={false} /></label>
      <p class="hint">* stands for anything, ? for one character. In this session, this rule would <b>{verdict}</b> this call{verdict === "ask" ? `: ${plain(reasons.at(-1) ?? "")}` : ""}. It holds until the session ends or its rules are changed.</p>
      {fault !== null && <p class="field-fault" role="alert">{fault}</p>}
      <div class="dialog-foot"><button type="button" onClick={onDone}>Back</button><button type="submit" class="primary" disabled={busy || verdict === "ask"}>Save the rule and {rule.verdict}</button></div>
    </form>
  );
}
