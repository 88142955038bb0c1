/** Owns the decision on one tool call: its risk, the rules (last match wins), edit mode and earlier approvals. */

import { MAX_GRANT_CHARS, type Grant } from "./approval.ts";
import { verdict, type EditMode, type Risk, type Rule, type Verdict } from "./policy.ts";
import { classify, type Call, type Classified, type Place } from "./risk.ts";
import { worse } from "./risk-paths.ts";

export type { Grant } from "./approval.ts";
export type { Call, Place } from "./risk.ts";

export interface Policy {
  rules: readonly Rule[];
  edit_mode: EditMode;
  grants?: readonly Grant[];
  place: Place;
}

export interface Decision {
  verdict: Verdict;
  risk: Risk;
  reasons: string[];
  summary: string;
  /** The rule that decided, where one did. */
  rule?: Rule;
}

/**
 * Decides on a call. Without a rule: low is allowed, medium and high are asked (unless edit mode or an earlier approval covers them), critical is asked.
 * A critical call is only allowed by a rule that names `risk: "critical"`, or one whose `tool` and `pattern` hold no wildcard; a broader `allow` is passed over.
 */
export function decide(call: Call, policy: Policy): Decision {
  const classified = classify(call, policy.place);
  const { summary } = classified;
  const found = policy.rules.findLast((each) => applies(each, call, classified));
  if (found) {
    const named = found.reason ?? `the rule for ${[found.tool, found.pattern, found.risk].filter(Boolean).join(" ") || "every call"} says ${found.verdict}`;
    const decision: Decision = { verdict: found.verdict, risk: classified.risk, reasons: [...classified.reasons, named], summary, rule: found };
    // A person's later approval outweighs a rule that only asks.
    if (found.verdict !== "ask" || !covers(policy.grants ?? [], call, classified)) return decision;
    return { ...decision, verdict: "allow", reasons: [...classified.reasons, "a person approved calls like it"] };
  }
  const answer = (verdict: Verdict, reason?: string): Decision => ({ verdict, risk: classified.risk, reasons: reason === undefined ? classified.reasons : [...classified.reasons, reason], summary });
  if (classified.risk === "low") return answer("allow");
  if (covers(policy.grants ?? [], call, classified)) return answer("allow", "a person approved calls like it");
  if (policy.edit_mode !== "off" && classified.kind === "edit" && classified.risk === "medium") return answer("allow", "edits in the workspace are allowed");
  return answer("ask");
}

/** Whether an earlier approval covers this call. */
export function covers(grants: readonly Grant[], call: Call, classified: Classified): boolean {
  return grants.some((each) => {
    if (each.tool !== call.tool) return false;
    if (classified.risk === "critical" || each.keys === null || classified.keys === null) return each.input === JSON.stringify(call.input);
    if (worse(each.risk, classified.risk) !== each.risk) return false;
    return classified.keys.every((key) => each.keys?.includes(key));
  });
}

/** What approving this call with a scope grants; null where nothing could be remembered. */
export function grantOf(call: Call, place: Place): Grant | null {
  const { risk, keys } = classify(call, place);
  const input = JSON.stringify(call.input);
  if (risk === "critical" || keys === null) return input.length > MAX_GRANT_CHARS ? null : { tool: call.tool, risk, keys: null, input };
  return { tool: call.tool, risk, keys, input: "" };
}

function applies(rule: Rule, call: Call, classified: Classified): boolean {
  if (rule.tool !== undefined && !globFits(rule.tool, call.tool)) return false;
  if (rule.risk !== undefined && rule.risk !== classified.risk) return false;
  if (rule.verdict !== verdict.enum.allow) return rule.pattern === undefined || [...(classified.subjects ?? []), ...classified.spellings].some((subject) => globFits(rule.pattern ?? "", subject));
  if (classified.risk === "critical" && rule.risk !== "critical" && !isExact(rule)) return false;
  if (rule.pattern === undefined) return true;
  const { pattern } = rule;
  if (classified.subjects === null || classified.subjects.length === 0) return isExact(rule) && classified.summary === pattern;
  return (isExact(rule) && classified.kind === "shell" && classified.summary === pattern) || classified.subjects.every((subject) => globFits(pattern, subject));
}

function isExact({ tool, pattern }: Rule): boolean {
  return tool !== undefined && pattern !== undefined && !/[*?]/.test(tool + pattern);
}

/** Whether a glob fits a text: `*` any run of characters, `?` one. At most as many steps as both lengths multiplied. */
export function globFits(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let tried = 0;
  while (t < text.length) {
    if (pattern[p] === "*") {
      star = p++;
      tried = t;
    } else if (p < pattern.length && (pattern[p] === "?" || pattern[p] === text[t])) {
      p++;
      t++;
    } else if (star !== -1) {
      p = star + 1;
      t = ++tried;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}
