/** Owns what of a long conversation the model is sent: old tool results are shortened to a note, then the oldest exchanges left out, never half a pair. */

import { clipped } from "../tools/bounded.ts";
import { callsOf, mended, NOTICE, textIn, type Message, type ToolMessage } from "./messages.ts";

export interface WindowLimits {
  /** Tokens that the conversation may take, beside prompt and tools. */
  tokens: number;
}

/** Beyond this share of the limit the conversation is cut, down to the other: rarely and by much, so that the cached prefix holds in between. */
const FULL = 0.8;
const ROOMY = 0.5;
/** The newest messages stay as they are. */
const KEPT = 8;
/** Characters of a shortened result that stay, from its beginning. */
const HEAD = 200;
/** Results no longer than this are not worth shortening, in characters. */
const SHORT = 600;
/** What an image takes, in tokens, whatever its size. */
const IMAGE_TOKENS = 1_500;

/** Characters of a request that are kept when its message is left out; of a small window, a quarter of it. */
const REQUEST = 8_000;

/** Sizes are counted once a message. */
const TOKENS = new WeakMap<Message, number>();

/** Roughly how many tokens a message takes: four characters each. */
export function tokensOf(message: Message): number {
  const known = TOKENS.get(message);
  if (known !== undefined) return known;
  const counted = Math.ceil(count(message) / 4) + 4;
  TOKENS.set(message, counted);
  return counted;
}

function count(message: Message): number {
  let characters = 0;
  for (const part of message.content) {
    if (part.type === "text" || part.type === "thinking") characters += part.text.length;
    else if (part.type === "image") characters += IMAGE_TOKENS * 4;
    else if (part.type === "tool-call") characters += part.tool.length + JSON.stringify(part.input ?? null).length;
    else if (typeof part.content === "string") characters += part.content.length;
    else for (const inner of part.content) characters += inner.type === "text" ? inner.text.length : IMAGE_TOKENS * 4;
  }
  return characters;
}

/** Keeps one conversation within its limit from call to call; what was cut stays cut, so that the beginning of what is sent changes as rarely as can be. */
export class Window {
  #limit: number;
  /** Results of messages before this index are shortened. */
  #shortened = 0;
  /** Messages before this index are left out. */
  #dropped = 0;
  readonly #short = new WeakMap<Message, Message>();
  /** Real tokens per estimated one, as the provider last counted. */
  #scale = 1;

  constructor({ tokens }: WindowLimits) {
    this.#limit = tokens;
  }

  /** Another conversation comes: nothing of it is cut yet. */
  reset(): void {
    this.#shortened = 0;
    this.#dropped = 0;
    this.#noteFor = -1;
  }

  /** Takes the provider's own count of what was sent for `view`: the estimate is corrected by it. */
  calibrate(view: readonly Message[], overhead: number, counted: number): void {
    const estimated = total(view) + overhead;
    // A count of nothing, or one that is far off, is a provider that does not count.
    if (counted > 0 && estimated > 1_000) this.#scale = Math.min(4, Math.max(0.5, counted / estimated));
  }

  /** The model said that it was too long all the same. */
  shrink(view: readonly Message[]): void {
    this.#limit = Math.max(1_000, Math.min(this.#limit, total(view) * this.#scale) * 0.6);
  }

  /** What to send of this conversation, and what was newly cut, in words; `messages` may only have grown since the last time. */
  fit(messages: readonly Message[]): { view: readonly Message[]; note: string | null } {
    let view = this.#view(messages);
    if (total(view) * this.#scale <= this.#limit * FULL) return { view, note: null };
    const before = { shortened: this.#shortened, dropped: this.#dropped };
    this.#cut(messages);
    view = this.#view(messages);
    const newly = [this.#shortened > before.shortened && "old tool results were shortened", this.#dropped > before.dropped && `the oldest ${this.#dropped - before.dropped} messages were left out`].filter(Boolean);
    return { view, note: newly.length > 0 ? `the conversation is long: ${newly.join(", ")}` : null };
  }

  #cut(messages: readonly Message[]): void {
    const goal = (this.#limit * ROOMY) / this.#scale;
    const last = Math.max(0, messages.length - KEPT);
    let size = total(this.#view(messages));
    for (; size > goal && this.#shortened < last; this.#shortened++) {
      const one = messages[this.#shortened];
      if (one && this.#shortened >= this.#dropped) size -= tokensOf(one) - tokensOf(this.#shorten(one));
    }
    while (size > goal) {
      const next = boundary(messages, this.#dropped + 1);
      if (next === null) break;
      for (let i = this.#dropped; i < next; i++) size -= tokensOf(this.#at(messages, i));
      this.#dropped = next;
    }
    // Even the newest messages are too long: their results are shortened too, all but the last.
    for (; size > this.#limit && this.#shortened < messages.length - 1; this.#shortened++) {
      const one = messages[this.#shortened];
      if (one) size -= tokensOf(one) - tokensOf(this.#shorten(one));
    }
  }

  #view(messages: readonly Message[]): readonly Message[] {
    if (this.#dropped === 0 && this.#shortened === 0) return mended(messages);
    const kept: Message[] = [];
    if (this.#dropped > 0) kept.push(this.#left(messages));
    for (let i = this.#dropped; i < messages.length; i++) kept.push(this.#at(messages, i));
    return mended(kept);
  }

  #note: Message | null = null;
  #noteFor = -1;
  /** What stands for the messages that were left out; the same object as long as the same are. A long turn leaves its own beginning out, but never what it is for. */
  #left(messages: readonly Message[]): Message {
    if (this.#note === null || this.#noteFor !== this.#dropped) {
      const request = messages.slice(this.#dropped).some(isRequest) ? undefined : messages.slice(0, this.#dropped).findLast(isRequest);
      const words = request === undefined ? "" : `\nThe request that you are working on:\n${clipped(textIn(request), Math.min(REQUEST, Math.round(this.#limit)))}`;
      this.#note = { role: "user", content: [{ type: "text", text: `[The conversation was longer: its first ${this.#dropped} messages were left out. What was written to files and to memory/ is still there.]${words}` }] };
      this.#noteFor = this.#dropped;
    }
    return this.#note;
  }

  #at(messages: readonly Message[], index: number): Message {
    const one = messages[index] as Message;
    return index < this.#shortened ? this.#shorten(one) : one;
  }

  #shorten(one: Message): Message {
    if (one.role === "assistant") return one;
    const known = this.#short.get(one);
    if (known) return known;
    const short: Message = one.role === "tool" ? shortResults(one) : { ...one, content: one.content.map((part) => (part.type === "image" ? { type: "text" as const, text: "[an image was here; it was left out to make room]" } : part)) };
    this.#short.set(one, short);
    return short;
  }
}

function shortResults(one: ToolMessage): ToolMessage {
  return {
    role: "tool",
    content: one.content.map((result) => {
      const text = typeof result.content === "string" ? result.content : result.content.map((part) => (part.type === "text" ? part.text : `[image ${part.mediaType}]`)).join("\n");
      if (typeof result.content === "string" && text.length <= SHORT) return result;
      return { ...result, content: `${text.slice(0, HEAD).toWellFormed()}\n[… the rest of this result of ${result.tool}, ${text.length} characters in all, was left out to make room; call it again if you need it]` };
    }),
  };
}

/** What a person said; the runtime's own notices are none. */
function isRequest(one: Message): boolean {
  return one.role === "user" && !textIn(one).startsWith(NOTICE);
}

/** The first index from `from` on where nothing before is needed by what follows: a message that is no result, with no call open. Null where only the newest are left. */
function boundary(messages: readonly Message[], from: number): number | null {
  const last = messages.length - 2;
  for (let i = from; i <= last; i++) {
    if (messages[i]?.role !== "tool" && callsOf(messages[i - 1]).length === 0) return i;
  }
  return null;
}

function total(messages: readonly Message[]): number {
  let sum = 0;
  for (const one of messages) sum += tokensOf(one);
  return sum;
}
