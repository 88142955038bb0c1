/** Owns the rules of the house: which room may import which, how long a file may be, and that it says what it owns. */

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");
const ROOMS = ["sdk", "durable-objects", "worker", "agent", "test"];

/** First match names the room of a file; `may` lists path prefixes (or package names) that its relative imports may reach. */
const ARROWS: { room: string; may: string[]; packages?: string[]; because: string }[] = [
  { room: "sdk/protocol", may: ["sdk/protocol"], packages: ["zod"], because: "the protocol is the leaf that everyone stands on" },
  { room: "sdk/cli", may: ["sdk"], because: "mctl is the client's first user" },
  { room: "sdk/workspace", may: ["sdk/workspace", "sdk/protocol"], because: "a host and a user's mctl keep trees in the same way, and neither brings the other" },
  { room: "sdk/build.mjs", may: [], because: "it builds the package, it is not in it" },
  { room: "sdk", may: ["sdk"], packages: ["zod"], because: "tenants install it: it depends on zod alone" },
  { room: "durable-objects", may: ["durable-objects", "sdk/protocol"], because: "objects know neither doors nor database" },
  { room: "worker/local", may: ["worker", "migrations", "sdk/protocol"], because: "one machine composes the parts, it is part of none" },
  { room: "worker/ui", may: ["worker/ui", "sdk"], because: "the dashboard is a client" },
  { room: "worker", may: ["worker", "durable-objects/index.ts", "sdk/protocol"], because: "doors see objects by their public face" },
  { room: "agent", may: ["agent", "sdk/protocol", "sdk/workspace"], because: "a host knows the wire, not the control plane" },
];
const LONGEST = 400;

function files(dir: string): string[] {
  return readdirSync(join(root, dir), { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return ["node_modules", "dist"].includes(entry.name) ? [] : files(path);
    return /\.(ts|tsx|mjs)$/.test(entry.name) && !entry.name.endsWith(".d.ts") ? [path] : [];
  });
}

const sources = ROOMS.flatMap(files).map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
const isTest = (path: string) => path.startsWith("test/") || path.includes(".test.");

function imports(text: string): string[] {
  return [...text.matchAll(/(?:^|\n)\s*(?:import|export)\s[^;]*?from\s*"([^"]+)"|import\(\s*"([^"]+)"\s*\)|(?:^|\n)import\s+"([^"]+)"/g)].map((m) => m[1] ?? m[2] ?? m[3] ?? "");
}

describe("arrows between rooms", () => {
  for (const { path, text } of sources.filter(({ path }) => !isTest(path))) {
    const arrow = ARROWS.find(({ room }) => path === room || path.startsWith(`${room}/`));
    if (!arrow) continue;
    it(`${path} imports only what ${arrow.room} may`, () => {
      for (const target of imports(text)) {
        if (target.startsWith(".")) {
          const reached = relative(root, resolve(root, dirname(path), target));
          expect(arrow.may.some((prefix) => reached === prefix || reached.startsWith(`${prefix}/`)), `${path} → ${reached}: ${arrow.because}`).toBe(true);
        } else if (arrow.packages) {
          expect(arrow.packages, `${path} → ${target}: ${arrow.because}`).toContain(target);
        }
      }
    });
  }
});

describe("files", () => {
  it(`are at most ${LONGEST} lines long`, () => {
    expect(sources.filter(({ text }) => text.split("\n").length > LONGEST + 1).map(({ path, text }) => `${path}: ${text.split("\n").length}`)).toEqual([]);
  });
  it("begin with a sentence that says what they own", () => {
    const silent = sources.filter(({ path, text }) => !path.includes(".test.") && !/^(#!.*\n)?\/\*\*\s+(\* )?\S/.test(text)).map(({ path }) => path);
    expect(silent).toEqual([]);
  });
  it("are not called utils, helpers or common", () => {
    expect(sources.map(({ path }) => path).filter((path) => /(^|\/)(utils?|helpers?|common)(\.|\/)/.test(path))).toEqual([]);
  });
  it("hold no `any` and no suppressed checks", () => {
    // Prose may say "null: any"; only code is meant.
    const code = (text: string) => text.replaceAll(/\/\*[\s\S]*?\*\/|(^|[^:])\/\/.*/g, "$1");
    const loose = sources.filter(({ path, text }) => path !== "test/arrows.test.ts" && (/@ts-(ignore|nocheck)/.test(text) || /(:|<|\bas) any\b/.test(code(text)))).map(({ path }) => path);
    expect(loose).toEqual([]);
  });
});
