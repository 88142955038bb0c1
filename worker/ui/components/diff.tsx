/** Owns how a unified diff is shown: added, removed and unchanged lines, with their numbers. */

import { useState } from "preact/hooks";
import { plain } from "./format.ts";

/** Lines of a diff that are shown at once; the rest is a click away. */
const FIRST = 400;

interface Line {
  sign: " " | "+" | "-" | "@";
  text: string;
  old: number | null;
  new: number | null;
}

export function diffLines(diff: string): Line[] {
  let before = 1;
  let after = 1;
  // What stands before a file's first hunk names the file and is not shown; a diff without hunks has nothing else.
  let inside = !/^@@ -/m.test(diff);
  return diff.split("\n").flatMap((line): Line[] => {
    const hunk = /^@@ -(\d+)(?:,\d+)? \+(\d+)/.exec(line);
    if (hunk) {
      inside = true;
      before = Number(hunk[1]);
      after = Number(hunk[2]);
      return [{ sign: "@", text: line, old: null, new: null }];
    }
    if (/^(diff |Index: )/.test(line)) inside = false;
    if (!inside) return [];
    if (line.startsWith("+")) return [{ sign: "+", text: line.slice(1), old: null, new: after++ }];
    if (line.startsWith("-")) return [{ sign: "-", text: line.slice(1), old: before++, new: null }];
    if (line.startsWith("\\") || line === "") return [];
    return [{ sign: " ", text: line.slice(1), old: before++, new: after++ }];
  });
}

const NAMES = { " ": "", "+": "added", "-": "removed", "@": "hunk" } as const;
const SAID = { " ": "", "+": "added: ", "-": "removed: ", "@": "" } as const;

export function Diff({ diff }: { diff: string }) {
  const [all, setAll] = useState(false);
  const lines = diffLines(diff);
  const shown = all ? lines : lines.slice(0, FIRST);
  return (
    <div class="diff" tabIndex={0} role="group" aria-label="Changed lines">
      <table>
        <tbody>
          {shown.map((line, i) => (
            <tr key={i} class={NAMES[line.sign]}>
              <td class="diff-number" aria-hidden="true">{line.old ?? ""}</td><td class="diff-number" aria-hidden="true">{line.new ?? ""}</td>
              <td class="diff-text"><span class="visually-hidden">{SAID[line.sign]}</span>{plain(line.text) || " "}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {lines.length > shown.length && <button type="button" class="quiet" onClick={() => setAll(true)}>{lines.length - shown.length} more lines</button>}
    </div>
  );
}
