/** Owns code with colours: highlight.js reads it, and its tokens become elements here, so that no text ever becomes markup. */

import hljs from "highlight.js/lib/common";
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { plain } from "./format.ts";

/** Longer files are shown without colours: 512 KiB. */
const MAX_COLOURED = 512 * 1024;

type Token = string | { scope?: string; children: Token[] };

function nodesOf(token: Token, key: number): ComponentChildren {
  if (typeof token === "string") return plain(token);
  const inside = token.children.map(nodesOf);
  return token.scope ? <span key={key} class={`hl-${token.scope.split(".")[0]}`}>{inside}</span> : inside;
}

const BY_NAME: Readonly<Record<string, string>> = { dockerfile: "bash", makefile: "makefile", ".gitignore": "bash", ".env": "ini" };

function languageOf(path: string): string | undefined {
  const name = path.split("/").at(-1)?.toLowerCase() ?? "";
  const ending = name.includes(".") ? (name.split(".").at(-1) ?? "") : "";
  const known = BY_NAME[name] ?? ending;
  return hljs.getLanguage(known) ? known : undefined;
}

export function Code({ path, text }: { path: string; text: string }) {
  const shown = useMemo(() => {
    const language = text.length <= MAX_COLOURED ? languageOf(path) : undefined;
    if (!language) return plain(text);
    const result = hljs.highlight(text, { language, ignoreIllegals: true }) as unknown as { _emitter: { root: Token } };
    return nodesOf(result._emitter.root, 0);
  }, [path, text]);
  const lines = text.split("\n").length;
  return (
    <div class="code">
      <pre class="code-numbers" aria-hidden="true">{Array.from({ length: Math.min(lines, 20_000) }, (_, i) => i + 1).join("\n")}</pre>
      <pre class="code-text" tabIndex={0} aria-label={path}>{shown}</pre>
    </div>
  );
}
