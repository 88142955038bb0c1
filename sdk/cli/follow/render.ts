/** Owns how events look as they stream by: text as it comes, thinking dimmed, tool calls with their command, output bounded. */

import type { Event, EventData } from "../../protocol/index.ts";
import { riskStyle, styleOf, usageText } from "../output/views.ts";
import { size } from "../output/table.ts";
import { neutralise, Neutraliser, oneLine, type Paint } from "../output/terminal.ts";

export interface RenderSettings {
  /** Takes the agent's words (and a custom agent's output). */
  data(text: string): void;
  /** Takes all that goes on around them. */
  note(text: string): void;
  /** Colours for what `note` takes. */
  paint: Paint;
  /** Whether colours of the agent's own may pass to `data`. */
  colour: boolean;
  /** Everything, unbounded. */
  verbose: boolean;
}

const RESULT_LINES = 8;
const CALL_LINES = 6;
const DIFF_LINES = 24;
const THINKING_LINES = 12;
const MARK = { completed: "✔", in_progress: "▸", pending: "·" } as const;

/** Turns events into text; holds what spans events: an open line, the deltas of a message. */
export class Renderer {
  readonly #set: RenderSettings;
  readonly #text: Neutraliser;
  /** The agent's words came as deltas, so the whole message that follows says nothing new. */
  #streamed = false;
  #lineOpen = false;
  #waiting: string | null = null;
  #receipt: string | null = null;
  constructor(settings: RenderSettings) {
    this.#set = settings;
    this.#text = new Neutraliser(settings.colour);
  }

  event(event: Event): void {
    switch (event.type) {
      case "message.delta":
        this.#streamed = true;
        return this.#stream(event.data.text);
      case "message":
        if (!this.#streamed) this.#stream(event.data.text);
        this.#streamed = false;
        this.#close();
        return this.#cutMark(event.data.truncated);
      case "log":
        return this.#log(event.data);
      case "thinking":
        return this.#lines(event.data.text, "  ", THINKING_LINES, (line) => this.#set.paint("dim", line));
      case "tool.call": {
        const what = event.data.summary ?? JSON.stringify(event.data.input);
        const [first = "", ...rest] = this.#bounded(what, CALL_LINES);
        this.#note(`${this.#set.paint("cyan", "●")} ${this.#set.paint("bold", oneLine(event.data.tool))} ${first}`);
        for (const line of rest) this.#note(`    ${line}`);
        return;
      }
      case "tool.result":
        this.#lines(event.data.output, "  │ ", RESULT_LINES, (line) => this.#set.paint(event.data.is_error ? "red" : "dim", line));
        return this.#cutMark(event.data.truncated);
      case "file.changed":
        this.#note(`${this.#set.paint("green", "±")} ${oneLine(event.data.path)} ${this.#set.paint("dim", `(${event.data.change})`)}`);
        if (event.data.diff) this.#lines(event.data.diff, "  ", DIFF_LINES, (line) => this.#diff(line));
        return;
      case "plan":
        for (const item of event.data.items) {
          const line = `  ${MARK[item.status]} ${oneLine(item.text)}`;
          this.#note(item.status === "completed" ? this.#set.paint("dim", line) : line);
        }
        return;
      case "progress":
        return this.#note(this.#set.paint("dim", `… ${oneLine(event.data.text)}${event.data.fraction === undefined ? "" : ` ${Math.round(event.data.fraction * 100)} %`}`));
      case "usage":
        if (this.#set.verbose) this.#note(this.#set.paint("dim", `  ${usageText(event.data)}`));
        return;
      case "error":
        this.#note(`${this.#set.paint("red", "✗")} ${oneLine(event.data.message)}`);
        if (event.data.hint) this.#note(`  hint: ${oneLine(event.data.hint)}`);
        return;
      default:
        return this.#state(event);
    }
  }

  /** Ends an open line and resets colours; call it before anything else is printed. */
  end(): void {
    this.#close();
  }

  #state(event: Event): void {
    const { paint } = this.#set;
    switch (event.type) {
      case "permission.requested": {
        const [first = "", ...rest] = this.#bounded(event.data.summary, CALL_LINES);
        this.#note(`${paint("yellow", "?")} ${paint(riskStyle(event.data.risk), event.data.risk)} ${paint("bold", oneLine(event.data.tool))} ${first}`);
        for (const line of rest) this.#note(`    ${line}`);
        return;
      }
      case "permission.answered": {
        const { status, by, reason, scope } = event.data;
        const mark = status === "approved" ? paint("green", "✓ approved") : status === "denied" ? paint("red", "✗ denied") : paint("dim", "– withdrawn");
        const words = [status === "approved" && scope !== "once" ? `for the ${scope}` : "", by ? `by ${oneLine(by)}` : ""].filter(Boolean);
        return this.#note([mark, paint("dim", words.join(" ")), reason ? paint("dim", `(${oneLine(reason)})`) : ""].filter(Boolean).join(" "));
      }
      case "permission.withdrawn":
        return this.#note(paint("dim", "– the agent took its question back"));
      case "run.status":
        if (event.data.error) this.#failure(event.data.status, event.data.error);
        else if (this.#set.verbose) this.#note(paint("dim", `run ${event.data.status}`));
        return;
      case "task.status": {
        const { status, reason, error } = event.data;
        if (status === "pending") return this.#wait(reason);
        this.#waiting = null;
        if (status === "running") return;
        if (error) this.#failure(`task ${status}`, error);
        else if (this.#set.verbose || status !== "completed") this.#note(paint(styleOf(status) ?? "dim", `■ task ${status}${reason ? `: ${oneLine(reason)}` : ""}`));
        return;
      }
      case "session.status": {
        const { status, reason } = event.data;
        if (status === "pending" || (status === "resuming" && reason !== null)) return this.#wait(reason);
        if (status === "suspended" || status === "terminated" || this.#set.verbose) this.#note(paint("dim", `session ${status}${reason ? `: ${oneLine(reason)}` : ""}`));
        return;
      }
      case "session.receipt":
        this.#receipt = event.data.text;
        return this.#lines(event.data.text, "", Infinity, (line) => paint("dim", line));
      case "workspace.synced":
        if (this.#set.verbose) this.#note(paint("dim", `files kept: ${event.data.workspace.files}, ${size(event.data.workspace.bytes)}, in ${event.data.capsule_id}`));
        return;
      case "workspace.sync_failed":
        return this.#failure("the workspace was not saved", event.data.error);
      case "workspace.restore_failed":
        return this.#failure("the workspace was not restored", event.data.error);
      case "schedule.run": {
        const { status, by, reason, due_at } = event.data;
        const words = { started: by ? `run by ${oneLine(by)}` : `run of ${due_at ?? "now"}`, caught_up: "catches up", skipped: `skipped the run of ${due_at ?? "now"}`, stopped: "stopped" }[status];
        return this.#note(paint(status === "stopped" || status === "skipped" ? "yellow" : "dim", `schedule: ${words}${reason ? `: ${oneLine(reason)}` : ""}`));
      }
      case "runner.attached":
        this.#waiting = null;
        return this.#note(paint("dim", `runner ready: ${oneLine(event.data.provider)}${event.data.isolation ? `, ${oneLine(event.data.isolation)}` : ""}`));
      case "runner.lost":
        return this.#note(paint("yellow", `runner lost: ${oneLine(event.data.reason)}`));
      default:
        // Types that carry nothing to show, and those of a newer server.
        return;
    }
  }

  /** Why it waits, once for each reason. */
  wait(reason: string | null): void {
    this.#wait(reason);
  }

  #wait(reason: string | null): void {
    if (!reason || reason === this.#waiting) return;
    this.#waiting = reason;
    this.#note(this.#set.paint("yellow", `… waiting: ${oneLine(reason)}`));
  }

  #failure(what: string, error: { code: string; message: string; hint?: string | undefined }): void {
    this.#note(`${this.#set.paint("red", `✗ ${what}`)}: ${oneLine(error.message)} ${this.#set.paint("dim", `(${oneLine(error.code)})`)}`);
    if (error.hint) this.#note(`  hint: ${oneLine(error.hint)}`);
  }

  #log({ stream, text, encoding, truncated }: EventData<"log">): void {
    // The agent is told the same words with its next task.
    if (stream === "system" && text === this.#receipt) return;
    if (encoding === "base64") this.#note(this.#set.paint("dim", `[${Math.floor((text.length * 3) / 4)} bytes of binary ${stream}]`));
    else if (stream === "stdout") {
      this.#stream(text);
      this.#streamed = false;
    } else this.#lines(text, "", Infinity, (line) => this.#set.paint("dim", line));
    this.#cutMark(truncated);
  }

  #stream(text: string): void {
    const tamed = this.#text.push(text);
    if (tamed === "") return;
    this.#set.data(tamed);
    this.#lineOpen = !tamed.endsWith("\n");
  }
  #close(): void {
    const rest = this.#text.end();
    if (rest !== "") this.#set.data(rest);
    if (this.#lineOpen) this.#set.data("\n");
    this.#lineOpen = false;
  }
  #note(text: string): void {
    this.#close();
    this.#set.note(`${text}\n`);
  }
  #cutMark(characters: number | undefined): void {
    if (characters) this.#note(this.#set.paint("dim", `  … ${characters} more characters were cut`));
  }
  #lines(text: string, indent: string, max: number, paint: (line: string) => string): void {
    for (const line of this.#bounded(text, max)) this.#note(indent + paint(line));
  }
  #bounded(text: string, max: number): string[] {
    const lines = neutralise(text).replace(/\n+$/, "").split("\n");
    if (this.#set.verbose || lines.length <= max) return lines;
    return [...lines.slice(0, max - 1), this.#set.paint("dim", `… ${lines.length - max + 1} more lines (-v shows all)`)];
  }
  #diff(line: string): string {
    return line.startsWith("+") ? this.#set.paint("green", line) : line.startsWith("-") ? this.#set.paint("red", line) : this.#set.paint("dim", line);
  }
}
