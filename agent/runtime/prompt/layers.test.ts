import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildSystemPrompt, LAYER_CHARS, type PromptParts } from "./layers.ts";
import { runtimePrompt, type RuntimeFacts } from "./runtime-prompt.ts";

const TOOLS = ["exec", "exec_output", "exec_kill", "read_file", "write_file", "edit_file", "list_dir", "delete_file", "grep", "glob", "remember", "recall", "list_skills", "load_skill", "task"];
const facts: RuntimeFacts = { displayName: "Ada", tools: TOOLS, instructionsFilename: "AGENTS.md", root: "/workspace", installs: true };
const parts: PromptParts = {
  runtime: "RUNTIME",
  agent: "You review.",
  instructions: { file: "AGENTS.md", text: "Use tabs.\n" },
  memory: "- user.md: who they are",
  skills: [{ name: "review-pr", description: "How a\nreview goes" }, { name: "ship", description: "How to ship" }],
  subagents: [{ name: "research", description: "Finds out" }],
};

describe("the system prompt", () => {
  it("is the runtime's own words", () => {
    expect(runtimePrompt(facts)).toMatchSnapshot("all tools");
    expect(runtimePrompt({ ...facts, tools: ["read_file", "list_dir"], root: "/srv/w", installs: false })).toMatchSnapshot("reading only");
    expect(runtimePrompt({ ...facts, root: "/srv/w", installs: false })).toContain("Commands see the workspace at `/srv/w`");
    expect(runtimePrompt(facts).length).toBeLessThan(LAYER_CHARS.runtime * 0.75);
  });
  it("is four layers, general to specific", () => {
    expect(buildSystemPrompt(parts).text).toMatchSnapshot();
    expect(buildSystemPrompt(parts).layers.map(({ name, cut }) => [name, cut])).toEqual([["runtime", 0], ["agent", 0], ["workspace", 0], ["memory", 0]]);
  });
  it("leaves out what is not there", () => {
    expect(buildSystemPrompt({ runtime: "R", agent: " ", instructions: null, memory: null, skills: [], subagents: [] })).toMatchObject({ text: "R", blocks: ["R", ""] });
  });
  it("cuts each layer to its size, says so, and where the rest is", () => {
    const { layers, text } = buildSystemPrompt({ ...parts, instructions: { file: "CLAUDE.md", text: "x".repeat(50_000) }, memory: "y".repeat(50_000) });
    expect(layers[2]?.text).toHaveLength(LAYER_CHARS.workspace);
    expect(layers[2]?.text).toMatch(/\[cut here: \d+ characters more; read CLAUDE.md for the rest\]$/);
    expect(layers[2]?.cut).toBeGreaterThan(17_000);
    expect(text).toContain("read memory/MEMORY.md for the rest");
    expect(text).toContain("- ship: How to ship");
  });
  it("shortens a catalogue by whole lines", () => {
    const skills = Array.from({ length: 400 }, (_, i) => ({ name: `skill-${i}`, description: "d".repeat(60) }));
    const { text } = buildSystemPrompt({ ...parts, skills });
    const shown = text.match(/^- skill-\d+: d{60}$/gm)?.length ?? 0;
    expect(text).toContain(`[${400 - shown} more are not shown: \`list_skills\` names them all]`);
  });
  it("keeps to the sizes and is the same for the same parts, whatever they are", () => {
    const entry = fc.record({ name: fc.string({ maxLength: 40 }), description: fc.string({ maxLength: 1_000 }) });
    const any = fc.record({
      runtime: fc.string({ maxLength: 40_000 }), agent: fc.string({ maxLength: 40_000 }), memory: fc.option(fc.string({ maxLength: 40_000 })),
      instructions: fc.option(fc.record({ file: fc.constant("AGENTS.md"), text: fc.string({ maxLength: 60_000 }) })),
      skills: fc.array(entry, { maxLength: 60 }), subagents: fc.array(entry, { maxLength: 20 }),
    });
    fc.assert(fc.property(any, (some) => {
      const one = buildSystemPrompt(some);
      for (const { name, text } of one.layers) expect(text.length).toBeLessThanOrEqual(LAYER_CHARS[name]);
      expect(buildSystemPrompt(structuredClone(some))).toEqual(one);
    }), { numRuns: 60 });
  });
});
