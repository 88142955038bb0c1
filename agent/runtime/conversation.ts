/** Owns an agent between its turns: its history, one turn at a time, each a stream of events with exactly one at its end. */

import { budget, Meter, type Budget } from "./budget.ts";
import { Channel } from "./channel.ts";
import { checked } from "./checked.ts";
import { NO_USAGE, type AgentEvent, type FinalEvent } from "./events.ts";
import { replay, type JournalEntry, type Recorder, type Resumable } from "./history/journal.ts";
import { callsOf, checkHistory, userMessage, type Message, type Prompt } from "./history/messages.ts";
import { runTurn, type TurnSetup, type TurnStart } from "./turn.ts";

export interface StreamOptions {
  /** Ends the turn in mid-stream, with an `error` of code `aborted`. */
  signal?: AbortSignal | undefined;
  /** The conversation so far, instead of this agent's own. */
  history?: readonly Message[] | undefined;
  /** Gets every step of the turn before the next is taken; feed what it got to `resume`. */
  record?: Recorder | undefined;
  /** Instead of the agent's. */
  budget?: Budget | undefined;
  /** What the model should know before it goes on: what a resume kept and lost. */
  notice?: string | undefined;
  /** The turn of a subagent counts into this one too. */
  meter?: Meter | undefined;
}

type Begin = { prompt: Prompt } | Pick<Resumable, "results" | "inside">;
type Opening = Pick<TurnStart, "prompt" | "results" | "inside">;

/** For a model whose last words were broken off, or never heard: it is asked to go on, for its provider wants the last message to be another's. */
const GO_ON = "The last attempt at this task ended before it was done. Go on from here; what is finished need not be done again.";

export class Agent {
  readonly #setup: TurnSetup;
  readonly #budget: Budget;
  /** Told at the head of the first turn. */
  #warnings: AgentEvent[];
  #history: Message[];
  #running = false;

  constructor(setup: TurnSetup, { budget, history, warnings }: { budget: Budget; history: readonly Message[]; warnings: readonly AgentEvent[] }) {
    this.#setup = setup;
    this.#budget = budget;
    this.#history = [...history];
    this.#warnings = [...warnings];
  }

  /** The conversation so far, as plain JSON; whole between turns, growing within one. */
  get history(): Message[] {
    return [...this.#history];
  }

  /** One turn. Breaking off the iteration cancels it. Nothing runs before the first event is asked for. */
  stream(prompt: Prompt, options: StreamOptions = {}): AsyncGenerator<AgentEvent, void, void> {
    return this.#turn({ prompt }, options);
  }

  /**
   * Takes up a turn whose process died, from the entries that its `record` got: what is finished is not done again, what had begun and not ended is told
   * to the model as such, what had not begun is run; a subagent is taken up in the same way. `options.history` is what went before these entries.
   */
  resume(entries: readonly JournalEntry[], options: StreamOptions = {}): AsyncGenerator<AgentEvent, void, void> {
    const { history, ...open } = replay(entries);
    const last = history.at(-1);
    const notice = options.notice ?? (last?.role === "assistant" && callsOf(last).length === 0 ? GO_ON : undefined);
    return this.#turn(open, { ...options, notice, history: [...(options.history ?? this.#history), ...history] });
  }

  async *#turn(begin: Begin, options: StreamOptions): AsyncGenerator<AgentEvent, void, void> {
    if (this.#running) {
      yield { type: "error", code: "bad_request", message: "a turn of this agent is running: wait for its end, or make another agent", modelCalls: 0, usage: { ...NO_USAGE } };
      return;
    }
    this.#running = true;
    const gone = new AbortController();
    const channel = new Channel<AgentEvent>();
    let running: Promise<FinalEvent> | null = null;
    try {
      for (const warning of this.#warnings.splice(0)) yield warning;
      let opening: Opening;
      try {
        opening = "prompt" in begin ? { prompt: userMessage(begin.prompt) } : begin;
        checkHistory(options.history ?? []);
        checked(budget, options.budget ?? {}, "budget");
      } catch (error) {
        yield { type: "error", code: "bad_request", message: error instanceof Error ? error.message : String(error), modelCalls: 0, usage: { ...NO_USAGE } };
        return;
      }
      if (options.history) {
        this.#history = [...options.history];
        this.#setup.window.reset();
      }
      running = this.#run(opening, options, gone.signal, channel);
      yield* channel.read();
      yield await running;
    } finally {
      gone.abort(new Error("nobody listens any more"));
      channel.close();
      await running;
      this.#running = false;
    }
  }

  async #run(begin: Opening, options: StreamOptions, gone: AbortSignal, channel: Channel<AgentEvent>): Promise<FinalEvent> {
    const { signal, record = () => {}, budget: limits = this.#budget, meter, notice } = options;
    const turn: TurnStart = {
      ...begin, notice, record,
      messages: this.#history,
      meter: new Meter(limits, meter ?? null),
      signal: signal ? AbortSignal.any([signal, gone]) : gone,
      emit: (event: AgentEvent) => channel.put(event),
    };
    try {
      return await runTurn(this.#setup, turn);
    } finally {
      channel.close();
    }
  }
}
