/** Owns the kinds of options and arguments: how each is shown in help and parsed, with the type that comes out. */

import { UserError } from "./io.ts";

export interface Option<T> {
  /** Placeholder of the value; null for a flag. */
  value: string | null;
  summary: string;
  short: string | undefined;
  /** May be given several times. */
  many: boolean;
  required: boolean;
  /** Words to choose from, for help and completion. */
  choices: readonly string[] | undefined;
  /** From what was given (undefined: not given) to the value; throws `UserError`. */
  parse(given: readonly string[] | true | undefined, name: string): T;
}

type Common = { short?: string };

function one(given: readonly string[] | true | undefined): string | undefined {
  return given === undefined || given === true ? undefined : given.at(-1);
}

/** `--name`, true or false. */
export function flag(summary: string, more: Common = {}): Option<boolean> {
  return { value: null, summary, short: more.short, many: false, required: false, choices: undefined, parse: (given) => given !== undefined };
}

/** `--name TEXT` */
export function text(value: string, summary: string, more: Common = {}): Option<string | undefined> {
  return { value, summary, short: more.short, many: false, required: false, choices: undefined, parse: one };
}

/** `--name TEXT`, repeatable. */
export function texts(value: string, summary: string, more: Common = {}): Option<readonly string[] | undefined> {
  return { value, summary, short: more.short, many: true, required: false, choices: undefined, parse: (given) => (given === true ? undefined : given) };
}

/** `--name TEXT` that must be given. */
export function needed(value: string, summary: string, more: Common = {}): Option<string> {
  return {
    value, summary, short: more.short, many: false, required: true, choices: undefined,
    parse(given, name) {
      const text = one(given);
      if (text === undefined) throw new UserError(`--${name} is missing`, `give --${name} ${value}`);
      return text;
    },
  };
}

/** `--name WORD`, one of several. */
export function choice<const T extends string>(choices: readonly T[], summary: string, more: Common = {}): Option<T | undefined> {
  return {
    value: choices.length <= 4 ? choices.join("|") : "WORD", summary, short: more.short, many: false, required: false, choices,
    parse(given, name) {
      const text = one(given);
      if (text === undefined) return undefined;
      const found = choices.find((word) => word === text);
      if (found === undefined) throw new UserError(`--${name} cannot be '${text}'`, `one of ${choices.join(", ")}`);
      return found;
    },
  };
}

/** `--name N`, a whole number of at least `min`. */
export function whole(value: string, summary: string, more: Common & { min?: number } = {}): Option<number | undefined> {
  return {
    value, summary, short: more.short, many: false, required: false, choices: undefined,
    parse(given, name) {
      const text = one(given);
      if (text === undefined) return undefined;
      const min = more.min ?? 0;
      if (!/^\d{1,15}$/.test(text) || Number(text) < min) throw new UserError(`--${name} must be a whole number of at least ${min}, not '${text}'`);
      return Number(text);
    },
  };
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { "": 1, s: 1, m: 60, h: 3_600, d: 86_400 };

/** `--name 90s`, in seconds: a number with s, m, h or d (seconds without). */
export function duration(summary: string, more: Common = {}): Option<number | undefined> {
  return {
    value: "TIME", summary, short: more.short, many: false, required: false, choices: undefined,
    parse(given, name) {
      const text = one(given);
      if (text === undefined) return undefined;
      const match = /^(\d{1,9})([smhd]?)$/.exec(text);
      const seconds = match ? Number(match[1]) * (UNIT_SECONDS[match[2] ?? ""] ?? 1) : 0;
      if (seconds < 1) throw new UserError(`--${name} is not a time: '${text}'`, "a number with s, m, h or d, such as 90s or 2h");
      return seconds;
    },
  };
}

/** `--name K=V`, repeatable. */
export function pairs(summary: string, more: Common & { value?: string } = {}): Option<Record<string, string> | undefined> {
  return {
    value: more.value ?? "KEY=VALUE", summary, short: more.short, many: true, required: false, choices: undefined,
    parse(given, name) {
      if (given === undefined || given === true) return undefined;
      return Object.fromEntries(
        given.map((pair): [string, string] => {
          // Labels are written k:v in the API and k=v in shells; both are understood.
          const at = pair.search(name === "env" ? /=/ : /[=:]/);
          if (at < 1) throw new UserError(`--${name} wants ${more.value ?? "KEY=VALUE"}, not '${name === "env" ? pair.slice(0, 20) : pair}'`);
          return [pair.slice(0, at), pair.slice(at + 1)];
        }),
      );
    },
  };
}

/** `--name A,B` or repeated, of known words. */
export function words<const T extends string>(choices: readonly T[], value: string, summary: string, more: Common = {}): Option<T[] | undefined> {
  return {
    value, summary, short: more.short, many: true, required: false, choices,
    parse(given, name) {
      if (given === undefined || given === true) return undefined;
      return given
        .flatMap((part) => part.split(","))
        .filter(Boolean)
        .map((part) => {
          const found = choices.find((word) => word === part);
          if (found === undefined) throw new UserError(`--${name} does not know '${part}'`, `any of ${choices.join(", ")}`);
          return found;
        });
    },
  };
}

export type Values<O> = { [K in keyof O]: O[K] extends Option<infer T> ? T : never };

/** A positional argument. */
export interface Argument {
  name: string;
  summary: string;
  optional?: true;
  /** Takes all that follow. */
  rest?: true;
}
