/** Owns how each thing that happened in a session is shown. All of it is text: nothing that an agent wrote becomes markup. */

import { useState } from "preact/hooks";
import type { Item, ItemOf } from "../store/transcript.ts";
import { Ansi } from "./ansi.tsx";
import { Diff } from "./diff.tsx";
import { duration, plain, time } from "./format.ts";
import { Icon } from "./icon.tsx";
import { Answers, Ask } from "./permission-card.tsx";
import { ShownImages } from "./shown-images.tsx";

/** Characters of a long text that are shown at once. */
const FIRST_CHARS = 6_000;

function Long({ text, ansi = false }: { text: string; ansi?: boolean }) {
  const [all, setAll] = useState(false);
  const shown = all ? text : text.slice(0, FIRST_CHARS);
  return <>{ansi ? <Ansi text={shown} /> : plain(shown)}{shown.length < text.length && <button type="button" class="quiet" onClick={() => setAll(true)}>… {text.length - shown.length} more characters</button>}</>;
}
const Cut = ({ truncated }: { truncated?: number | undefined }) => (truncated ? <p class="hint">{truncated} characters were cut from this.</p> : null);

/** Fenced code stands apart from prose; the rest of a message stays as it was written. */
function Message({ item }: { item: ItemOf<"message"> }) {
  const parts = item.text.split(/^(?:```|~~~)[^\n]*\n?/m);
  return (
    <div class={item.open ? "item-message open" : "item-message"} dir="auto">
      {parts.map((part, i) => (part.trim() === "" ? null : i % 2 === 1 ? <pre key={i} class="sunken" tabIndex={0}>{plain(part.replace(/\n$/, ""))}</pre> : <p key={i} class="prose"><Long text={part.replace(/^\n+|\n+$/g, "")} /></p>))}
      <Cut truncated={item.truncated} />
    </div>
  );
}

function inputText(input: unknown): string {
  return typeof input === "string" ? input : JSON.stringify(input, null, 2);
}

/** What a call is about, where its agent gave no summary: the one thing of its input that names it. */
function about(input: unknown): string {
  const fields: Record<string, unknown> = typeof input === "object" && input !== null ? (input as Record<string, unknown>) : {};
  const named = ["command", "file_path", "path", "url", "pattern", "query"].map((name) => fields[name]).find((value) => typeof value === "string");
  return typeof named === "string" ? named : inputText(input);
}

function Tool({ item }: { item: ItemOf<"tool"> }) {
  const state = item.state === "running" ? <i class="spinner" role="img" aria-label="running" /> : <Icon name={item.state === "done" ? "check" : "warning"} size={16} />;
  return (
    <details class={`item-tool ${item.state}`}>
      <summary>{state}<b>{plain(item.tool)}</b><span class="item-summary" dir="ltr">{plain(item.summary ?? about(item.input)).slice(0, 300)}</span><span class="soft">{item.duration_ms === null ? "" : duration(item.duration_ms)}</span></summary>
      <h2>Input</h2><pre class="sunken" tabIndex={0}><Long text={inputText(item.input)} /></pre>
      {item.output !== null && <><h2>{item.state === "failed" ? "Error" : "Output"}</h2><pre class="sunken" tabIndex={0}><Long text={item.output} ansi /></pre></>}
      <Cut truncated={item.truncated} />
    </details>
  );
}

const ANSWERED: Readonly<Record<string, string>> = { approved: "good", denied: "bad", canceled: "warn" };
function Permission({ item }: { item: ItemOf<"permission"> }) {
  if (item.status === "pending") {
    return <section class="item-permission" aria-label="Waiting for you"><h2><Icon name="warning" /> Waiting for you</h2><Ask asked={item.request} /><Answers id={item.permission_id} asked={item.request} /></section>;
  }
  return <details class="item-answered"><summary><span class={`badge ${ANSWERED[item.status] ?? ""}`}>{item.status}</span> <b>{plain(item.request.tool)}</b> <span class="item-summary">{plain(item.request.summary)}</span></summary><Ask asked={item.request} />{item.reason && <p class="hint">Reason: {plain(item.reason)}</p>}</details>;
}

const TASK: Readonly<Record<string, string>> = { completed: "good", failed: "bad", timeout: "bad", canceled: "warn", running: "accent" };
function Task({ item }: { item: ItemOf<"task"> }) {
  return <section class="item-task"><p class="row"><span class="soft">Task</span><span class={`badge ${TASK[item.status] ?? ""}`}>{item.status}</span><time class="soft" dateTime={item.at}>{time(item.at)}</time></p><p class="prose" dir="auto"><Long text={item.preview} /></p><ShownImages session={item.session} images={item.images} /></section>;
}

function body(item: Item) {
  switch (item.kind) {
    case "task": return <Task item={item} />;
    case "message": return <Message item={item} />;
    case "thinking": return <details class="item-thinking"><summary>Thinking</summary><p class="prose" dir="auto"><Long text={item.text} /></p><Cut truncated={item.truncated} /></details>;
    case "tool": return <Tool item={item} />;
    case "file": return <details class="item-file" open={item.diff !== null && item.diff.length < 3_000}><summary><span class="badge">{item.change}</span> <code>{plain(item.path)}</code></summary>{item.diff !== null && <Diff diff={item.diff} />}</details>;
    case "terminal": return <pre class={`item-terminal ${item.stream}`} tabIndex={0}><Long text={item.text} ansi /></pre>;
    case "permission": return <Permission item={item} />;
    case "error": return <div class="item-error" role="alert"><Icon name="warning" /><div><p>{plain(item.message)}</p>{item.hint && <p class="hint">{plain(item.hint)}</p>}</div></div>;
    case "note": return <details class={`item-note ${item.tone}`} open={false}><summary><span>{plain(item.text)}</span> <time class="soft" dateTime={item.at}>{time(item.at)}</time></summary>{item.detail && <p class="prose hint">{plain(item.detail)}</p>}</details>;
    default: return null;
  }
}

export function ItemView({ item }: { item: Item }) {
  return <article class={`item ${item.kind}`}>{body(item)}</article>;
}
