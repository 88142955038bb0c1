/** Owns when journalled events leave: at once while nothing is under way, in full frames while much is. */

import type { Journal } from "./journal.ts";

/** Most frames and characters under way at a time. */
const WINDOW_FRAMES = 8;
const WINDOW_CHARS = 4 * 1024 * 1024;
/** Longest that an acknowledgement waits for events, or a small frame for what follows, to share a commit of the session, in milliseconds. */
const MAX_WAIT_MS = 4;

export class Sender {
  readonly #journal: Journal;
  readonly #send: (text: string) => void;
  /** Frames under way: their last number and size. */
  #underWay: { to: number; chars: number }[] = [];
  #chars = 0;
  #sent: number;
  #ack: number | null = null;
  readonly #arrays: boolean;
  #timer: NodeJS.Timeout | undefined;

  /** For one connection, from the welcome on: `last` is what the session has, `arrays` whether a message may hold several frames. */
  constructor(journal: Journal, welcome: { last: number; arrays: boolean }, send: (text: string) => void) {
    this.#journal = journal;
    this.#send = send;
    this.#sent = Math.max(welcome.last, journal.first - 1);
    this.#arrays = welcome.arrays;
  }

  /** Last number that was sent. */
  get sent(): number {
    return this.#sent;
  }

  /** Commands up to `id` are in the journal's file. */
  acknowledgeCommand(id: number): void {
    this.#ack = id;
  }

  acknowledged(upTo: number): void {
    let gone = 0;
    for (; gone < this.#underWay.length; gone++) {
      const frame = this.#underWay[gone];
      if (!frame || frame.to > upTo) break;
      this.#chars -= frame.chars;
    }
    this.#underWay.splice(0, gone);
  }

  /** Sends what may be sent now. `late`: small frames have waited long enough. */
  pump(late = false): void {
    let first = this.#ack === null ? null : `{"type":"command.ack","up_to":${this.#ack}}`;
    while (this.#underWay.length < WINDOW_FRAMES && this.#chars < WINDOW_CHARS) {
      const frame = this.#journal.frame(this.#sent);
      if (!frame) break;
      if (!frame.full && this.#underWay.length > 0 && !late && first === null) {
        this.#wait();
        break;
      }
      this.#sent = frame.to;
      this.#underWay.push({ to: frame.to, chars: frame.text.length });
      this.#chars += frame.text.length;
      if (first !== null && this.#arrays) this.#send(`[${first},${frame.text}]`);
      else {
        if (first !== null) this.#send(first);
        this.#send(frame.text);
      }
      first = null;
      this.#ack = null;
    }
    if (first === null) return;
    // What the command began will soon have something to say.
    if (!late) return this.#wait();
    this.#ack = null;
    this.#send(first);
  }

  #wait(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.pump(true);
    }, MAX_WAIT_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
