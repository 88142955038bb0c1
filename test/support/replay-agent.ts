/** Owns a process that plays the agent's side of a transcript: it says the agent's lines, and holds the adapter to its own. */

import { createInterface } from "node:readline";
import { parseTranscript, place, type Entry } from "./transcript.ts";

const WRONG = 3;

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => a.localeCompare(b))) : inner,
  );
}

/** Lines that the adapter sends in one go may come in any order. */
async function expectLines(expected: unknown[], lines: AsyncIterator<string>): Promise<void> {
  const wanted = new Set(expected.map(canonical));
  while (wanted.size > 0) {
    const next = await lines.next();
    const got = next.done ? "the end" : canonical(JSON.parse(next.value));
    if (wanted.delete(got)) continue;
    process.stderr.write(`the adapter sent ${got.slice(0, 600)} where the transcript has ${[...wanted].join(" or ").slice(0, 600)}\n`);
    process.exit(WRONG);
  }
}

async function play(entries: Entry[]): Promise<void> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  for (let i = 0; i < entries.length; ) {
    const batch: unknown[] = [];
    for (let entry = entries[i]; entry !== undefined && "line" in entry && entry.from === "adapter"; entry = entries[++i]) batch.push(entry.line);
    await expectLines(batch, lines);
    for (let entry = entries[i]; entry?.from === "agent"; entry = entries[++i]) {
      if ("line" in entry) process.stdout.write(`${JSON.stringify(entry.line)}\n`);
      else {
        // The real one ends when its input does.
        while (!(await lines.next()).done);
        process.exit(entry.exit);
      }
    }
  }
}

const [path = "", home = ""] = process.argv.slice(2);
await play(place(parseTranscript(path), { WORKSPACE: process.cwd(), HOME: home }));
