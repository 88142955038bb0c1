import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { covers, decide, globFits, grantOf, type Grant, type Policy } from "./decide.ts";
import type { EditMode, Rule, Verdict } from "./policy.ts";
import { classify } from "./risk.ts";

const place = { workspace: "/w", home: "/home/u" };
const bash = (command: string) => ({ tool: "Bash", input: { command } });
const write = (file_path: string) => ({ tool: "Write", input: { file_path } });
const policy = (rules: Rule[] = [], more: Partial<Policy> = {}): Policy => ({ rules, edit_mode: "off", place, ...more });

describe("without rules", () => {
  it("allows low risk and asks about the rest", () => {
    expect(["ls", "touch x", "curl x", "rm x"].map((command) => decide(bash(command), policy()).verdict)).toEqual(["allow", "ask", "ask", "ask"]);
    expect(decide({ tool: "mystery", input: null }, policy()).verdict).toBe("ask");
  });

  it("allows edits inside the workspace in edit mode, and no others", () => {
    const modes: EditMode[] = ["turn", "session"];
    for (const edit_mode of modes) {
      expect([write("/w/a"), write("a"), write("/w/.git/config"), write("/etc/x"), write("/tmp/x"), bash("touch a"), { tool: "delete", input: { path: "a" } }].map((call) => decide(call, policy([], { edit_mode })).verdict)).toEqual(["allow", "allow", "ask", "ask", "ask", "ask", "ask"]);
    }
  });
});

describe("rules", () => {
  const cases: [string, Rule[], ReturnType<typeof bash> | ReturnType<typeof write>, Verdict][] = [
    ["the last match wins", [{ verdict: "deny" }, { tool: "Bash", verdict: "allow" }], bash("touch x"), "allow"],
    ["the last match wins, the other way round", [{ tool: "Bash", verdict: "allow" }, { verdict: "deny" }], bash("touch x"), "deny"],
    ["a rule for another tool does not match", [{ tool: "Write", verdict: "deny" }], bash("ls"), "allow"],
    ["tools are globs", [{ tool: "mcp__*", verdict: "deny" }, { tool: "B?sh", verdict: "deny" }], bash("ls"), "deny"],
    ["low can be asked about", [{ risk: "low", verdict: "ask" }], bash("ls"), "ask"],
    ["a pattern allows its command", [{ tool: "Bash", pattern: "npm test*", verdict: "allow" }], bash("npm test -- x"), "allow"],
    ["allow needs every part to match", [{ tool: "Bash", pattern: "npm test*", verdict: "allow" }], bash("npm test && touch x"), "ask"],
    ["allow sees redirections", [{ tool: "Bash", pattern: "echo ?", verdict: "allow" }], bash("echo x > y"), "ask"],
    ["allow sees assignments", [{ tool: "Bash", pattern: "npm *", verdict: "allow" }], bash("FOO=1 npm test"), "ask"],
    ["deny needs one part to match", [{ tool: "Bash", pattern: "curl *", verdict: "deny" }], bash("ls; curl x | cat"), "deny"],
    ["deny sees through wrappers", [{ tool: "Bash", pattern: "curl *", verdict: "deny" }], bash("env A=1 timeout 5 'cu'rl x"), "deny"],
    ["deny sees behind assignments", [{ tool: "Bash", pattern: "curl *", verdict: "deny" }], bash("A=1 curl x"), "deny"],
    ["deny sees what cannot be read", [{ tool: "Bash", pattern: "curl *", verdict: "deny" }], bash("f() { curl x; }; ls 'open"), "ask"],
    ["a blanket allow does not allow what is critical", [{ verdict: "allow" }], bash("rm x"), "ask"],
    ["nor does an allow for the tool", [{ tool: "Bash", verdict: "allow" }], bash("rm x"), "ask"],
    ["nor one with a wildcard", [{ tool: "Bash", pattern: "rm *", verdict: "allow" }], bash("rm x"), "ask"],
    ["a blanket allow allows the rest", [{ verdict: "allow" }], bash("curl x"), "allow"],
    ["an exact tool and pattern does", [{ tool: "Bash", pattern: "rm x", verdict: "allow" }], bash("rm x"), "allow"],
    ["an exact pattern may be the whole line", [{ tool: "Bash", pattern: "rm x && touch y", verdict: "allow" }], bash("rm x && touch y"), "allow"],
    ["an exact pattern allows nothing longer", [{ tool: "Bash", pattern: "rm x", verdict: "allow" }], bash("rm x y"), "ask"],
    ["a rule that names critical does", [{ tool: "Bash", pattern: "docker *", risk: "critical", verdict: "allow" }], bash("docker ps"), "allow"],
    ["but not for more than it names", [{ tool: "Bash", pattern: "docker *", risk: "critical", verdict: "allow" }], bash("docker ps; rm x"), "ask"],
    ["a denial of all beats low", [{ verdict: "deny", reason: "closed" }], bash("ls"), "deny"],
    ["paths are relative to the workspace", [{ tool: "Write", pattern: "src/*", verdict: "allow" }], write("/w/src/a"), "allow"],
    ["paths are resolved before they are allowed", [{ tool: "Write", pattern: "src/*", verdict: "allow" }], write("/w/src/../b"), "ask"],
    ["a path is denied under any spelling", [{ tool: "Write", pattern: "secret/*", verdict: "deny" }], write("/w/src/../secret/x"), "deny"],
  ];
  for (const [name, rules, call, verdict] of cases) {
    it(name, () => {
      const decision = decide(call, policy(rules));
      expect(decision.verdict).toBe(verdict);
      if (decision.verdict === "deny") expect(decision.reasons.at(-1)).toBe(decision.rule?.reason ?? decision.reasons.at(-1));
    });
  }

  it("never allow a critical call by a rule that names neither its risk nor itself", () => {
    const rules = fc.array(fc.record({ tool: fc.constantFrom("Bash", "*", "B*"), pattern: fc.constantFrom("*", "rm *", "r?*", "**"), verdict: fc.constantFrom<Verdict>("allow", "ask", "deny") }));
    fc.assert(fc.property(rules, fc.constantFrom("rm x", "sudo ls", "curl x | sh", "$X"), (given, command) => {
      expect(decide(bash(command), policy(given)).verdict).not.toBe("allow");
    }));
  });

  it("match globs as they read, in time that does not explode", () => {
    expect([["*", ""], ["a*c", "abc"], ["a?c", "abc"], ["a.c", "a.c"], ["*.ts", "x.ts"], ["a*b*c", "a1b2c"], ["**", "x\ny"]].every(([pattern = "", text = ""]) => globFits(pattern, text))).toBe(true);
    expect([["", "a"], ["a?c", "ac"], ["a.c", "abc"], ["[a]", "a"], ["a*b", "abc"]].some(([pattern = "", text = ""]) => globFits(pattern, text))).toBe(false);
    expect(globFits(`${"*a".repeat(100)}b`, "a".repeat(10_000))).toBe(false);
  });
});

describe("an approval with a scope", () => {
  const covered = (approved: ReturnType<typeof bash> | ReturnType<typeof write>, call: typeof approved) => {
    const grant = grantOf(approved, place);
    return grant !== null && covers([grant], call, classify(call, place));
  };

  it("covers the same program and subcommand", () => {
    expect(covered(bash("npm install a"), bash("npm install b"))).toBe(true);
    expect(covered(bash("npm install a"), bash("npm audit"))).toBe(false);
    expect(covered(bash("touch a && git add a"), bash("git add b"))).toBe(true);
    expect(covered(bash("git add b"), bash("touch a && git add a"))).toBe(false);
    expect(covered(bash("python a.py"), bash("python b.py"))).toBe(false);
  });
  it("covers no higher risk, and no other tool", () => {
    expect(covered(bash("git push"), bash("git push --force"))).toBe(false);
    expect(covered(bash("echo a > b"), bash("echo a > /tmp/b"))).toBe(false);
    expect(covered(bash("echo a > b"), { tool: "shell", input: { command: "echo a > b" } })).toBe(false);
  });
  it("covers nothing but the same input where it was critical or code", () => {
    expect(covered(bash("rm a"), bash("rm a"))).toBe(true);
    expect(covered(bash("rm a"), bash("rm b"))).toBe(false);
    expect(covered(bash("python -c 'print(1)'"), bash("python -c 'print(2)'"))).toBe(false);
    expect(covered(bash("curl a"), bash("curl a | sh"))).toBe(false);
  });
  it("covers edits in the workspace by the same tool", () => {
    expect(covered(write("/w/a"), write("/w/b"))).toBe(true);
    expect(covered(write("/w/a"), write("/w/.git/config"))).toBe(false);
    expect(covered(write("/w/a"), write("/tmp/b"))).toBe(false);
  });
  it("covers fetches from the same host", () => {
    const fetch = (url: string) => ({ tool: "WebFetch", input: { url } });
    const grant = grantOf(fetch("https://a.b/x"), place) as Grant;
    expect(covers([grant], fetch("https://a.b/y"), classify(fetch("https://a.b/y"), place))).toBe(true);
    expect(covers([grant], fetch("https://c.d/y"), classify(fetch("https://c.d/y"), place))).toBe(false);
  });
  it("outweighs a rule that asks, not one that denies", () => {
    const grants = [grantOf(bash("touch a"), place) as Grant];
    expect(decide(bash("touch b"), policy([{ verdict: "ask" }], { grants })).verdict).toBe("allow");
    expect(decide(bash("touch b"), policy([{ verdict: "deny" }], { grants })).verdict).toBe("deny");
  });
});
