/** Owns trying permission rules: a call, some rules, and what the gate would say, with the very function that the gate uses. */

import { useState } from "preact/hooks";
import * as z from "zod";
import { decide } from "../../../../sdk/protocol/decide.ts";
import { rule } from "../../../../sdk/protocol/policy.ts";
import { plain } from "../../components/format.ts";

const KEPT = "marionette.rules";
const EXAMPLE = JSON.stringify([{ tool: "Bash", pattern: "npm test*", verdict: "allow" }, { tool: "Bash", pattern: "git push*", verdict: "ask" }], null, 2);
const WORDS = { allow: "allowed", deny: "denied", ask: "asked" } as const;
const TONES = { allow: "good", deny: "bad", ask: "warn" } as const;
const PLACE = { workspace: "/workspace", home: "/home/agent" };

function parsed(text: string): { rules: z.infer<typeof rule>[] } | { fault: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { fault: `Not JSON: ${error instanceof Error ? error.message : ""}` };
  }
  const result = z.array(rule).max(256).safeParse(value);
  if (result.success) return { rules: result.data };
  const [issue] = result.error.issues;
  return { fault: issue ? `${issue.path.map(String).join(".") || "rules"}: ${issue.message}${"keys" in issue ? ` (${issue.keys.join(", ")})` : ""}` : "Not valid" };
}

export function Rules() {
  const [text, setText] = useState(() => localStorage.getItem(KEPT) ?? EXAMPLE);
  const [tool, setTool] = useState("Bash");
  const [input, setInput] = useState("npm test && git push origin main");
  const rules = parsed(text);
  const shell = /^(bash|shell|exec|sh)$/i.test(tool);
  const field = shell ? "command" : /fetch|search|http/i.test(tool) ? "url" : "file_path";
  const call = { tool, input: { [field]: input } };
  const decision = "rules" in rules ? decide(call, { rules: rules.rules, edit_mode: "off", place: PLACE }) : null;
  return (
    <section class="stack">
      <div class="card settings-form">
        <h2>Try rules</h2>
        <p class="hint">The last rule that matches decides. Without one, reading is allowed and everything else is asked; what is critical is allowed only by a rule that names it. Rules are given to a session when it is launched, or from the inbox.</p>
        <label>Rules<textarea class="mono" rows={9} value={text} spellcheck={false} onInput={(event) => { setText(event.currentTarget.value); localStorage.setItem(KEPT, event.currentTarget.value); }} aria-invalid={"fault" in rules} /></label>
        {"fault" in rules && <p class="field-fault" role="alert">{rules.fault}</p>}
        <div class="columns">
          <label>Tool<input value={tool} onInput={(event) => setTool(event.currentTarget.value)} /></label>
          <label>{shell ? "Command" : "Path or address"}<input class="mono" value={input} onInput={(event) => setInput(event.currentTarget.value)} spellcheck={false} /></label>
        </div>
        {decision && <div class="decision" role="status"><p class="row">It would be <span class={`badge ${TONES[decision.verdict]}`}>{WORDS[decision.verdict]}</span> <span class={`badge risk-${decision.risk}`}>{decision.risk} risk</span></p><ul>{decision.reasons.map((reason) => <li key={reason} class="hint">{plain(reason)}</li>)}</ul></div>}
      </div>
    </section>
  );
}
