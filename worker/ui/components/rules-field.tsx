/** Owns permission rules as a form has them: one line each, the last that matches decides. */

import type { Rule } from "../../../sdk/index.ts";
import { Icon } from "./icon.tsx";

const VERDICTS = [{ verdict: "allow", name: "Allow" }, { verdict: "ask", name: "Ask" }, { verdict: "deny", name: "Deny" }] as const;

export function RulesField({ rules, onRules }: { rules: readonly Rule[]; onRules: (rules: Rule[]) => void }) {
  const change = (at: number, patch: Partial<Rule>) => onRules(rules.map((rule, i) => (i === at ? { ...rule, ...patch } : rule)));
  return (
    <fieldset class="stack rules-field">
      <legend>Permission rules</legend>
      {rules.map((rule, i) => (
        <div key={i} class="rule-line">
          <select aria-label={`Verdict of rule ${i + 1}`} value={rule.verdict} onChange={(event) => change(i, { verdict: event.currentTarget.value as Rule["verdict"] })}>{VERDICTS.map(({ verdict, name }) => <option key={verdict} value={verdict}>{name}</option>)}</select>
          <input aria-label={`Tool of rule ${i + 1}`} value={rule.tool ?? ""} placeholder="any tool" spellcheck={false} onInput={(event) => change(i, { tool: event.currentTarget.value || undefined })} />
          <input aria-label={`Pattern of rule ${i + 1}`} class="mono" value={rule.pattern ?? ""} placeholder="anything, or npm test*" spellcheck={false} onInput={(event) => change(i, { pattern: event.currentTarget.value || undefined })} />
          <button type="button" class="quiet" aria-label={`Remove rule ${i + 1}`} onClick={() => onRules(rules.filter((_, at) => at !== i))}><Icon name="close" size={16} /></button>
        </div>
      ))}
      <div class="row"><button type="button" onClick={() => onRules([...rules, { tool: "Bash", verdict: "allow" }])}><Icon name="plus" size={16} /> Add a rule</button><span class="hint">Without any, reading is allowed and everything else is asked. Try rules under <a href="/settings/rules">Settings</a>.</span></div>
    </fieldset>
  );
}
