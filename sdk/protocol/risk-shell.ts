/** Owns the risk of a shell command: that of its most dangerous part, wrappers and substitutions looked into. */

import type { Risk } from "./policy.ts";
import { BUILDERS, BY_NAME, HARMLESS_VARIABLE, LOCAL_VARIABLE, POWERFUL_VARIABLE, READERS, SUBCOMMANDS, WRITERS } from "./risk-commands.ts";
import { judgeGit } from "./risk-git.ts";
import { judgeByArguments, judgeTarget, worst, type Surroundings } from "./risk-judges.ts";
import { isInside, judgeRead, resolvePath, worse, type Judgement, type Place } from "./risk-paths.ts";
import { parseShell } from "./shell.ts";
import { literal, type SimpleCommand, type Word } from "./shell-word.ts";
import { unwrap } from "./shell-wrappers.ts";

export interface ShellRisk {
  risk: Risk;
  reasons: string[];
  /** Each simple command with its assignments and redirections, as rules see it; null where the command could not be read. */
  parts: { text: string; bare: string }[] | null;
  /** What an approval for calls like this one covers: program and subcommand of every part; null where only the same input is alike. */
  keys: string[] | null;
}

const MAX_DEPTH = 12;
/** Where more directories than these may be meant, the directory counts as not known. */
const MAX_DIRECTORIES = 16;
const SYSTEM_DIRECTORY = /^\/(usr\/)?(local\/)?s?bin\/[^/]+$|^\/opt\/homebrew\/bin\/[^/]+$/;
/** Characters that a person does not see, or sees elsewhere than they are. */
const INVISIBLE = /(?![ \t\n]|\ufe0f)[\p{Cc}\p{Cf}\p{Z}\p{Default_Ignorable_Code_Point}]/u;

/** Classifies what a shell would do with this text in a directory: the workspace, unless the call names another. */
export function classifyShell(text: string, place: Place, directory = place.workspace): ShellRisk {
  const reading = new Reading(place, directory);
  if (INVISIBLE.test(text)) reading.add({ risk: "critical", reason: "the command holds characters that cannot be seen" });
  reading.script(text, 0);
  return reading.result();
}

/** Classifies a program with its arguments, started without a shell. */
export function classifyArguments(argv: readonly string[], place: Place, directory = place.workspace): ShellRisk {
  const reading = new Reading(place, directory);
  if (argv.some((word) => INVISIBLE.test(word.replaceAll(/[\n\r]/g, "")))) reading.add({ risk: "critical", reason: "the command holds characters that cannot be seen" });
  reading.command({ assignments: [], words: argv.map(literal), redirects: [], piped: false }, 0);
  return reading.result();
}

class Reading {
  readonly #place: Place;
  readonly #judgements: Judgement[] = [];
  readonly #parts: { text: string; bare: string }[] = [];
  readonly #keys = new Set<string>();
  readonly #directories: (string | null)[];
  #readable = true;
  #alike = true;

  constructor(place: Place, directory: string) {
    this.#place = place;
    this.#directories = [resolvePath(directory, place.workspace, place.home)];
  }

  add(judgement: Judgement): void {
    this.#judgements.push(judgement);
  }

  result(): ShellRisk {
    const { risk } = this.#judgements.length === 0 ? { risk: "critical" as const } : worst(this.#judgements);
    const reasons = [...new Set(this.#judgements.filter((each) => each.risk === risk).map(({ reason }) => reason))];
    if (this.#judgements.length === 0) reasons.push("there is no command in it");
    return { risk, reasons: reasons.slice(0, 8), parts: this.#readable ? this.#parts : null, keys: this.#readable && this.#alike ? [...this.#keys].sort() : null };
  }

  script(text: string, depth: number): void {
    const parsed = parseShell(text);
    if (!parsed.ok || depth > MAX_DEPTH) {
      this.#readable = false;
      return this.add({ risk: "critical", reason: `the command cannot be read for certain: ${parsed.ok ? "it is nested too deeply" : parsed.reason}` });
    }
    // Where a later part writes depends on every directory that an earlier one may have gone to; commands of substitutions come in no order.
    for (const command of parsed.commands) this.#follow(command);
    for (const command of parsed.commands) this.command(command, depth);
  }

  /** Judges one simple command, and what it runs. */
  command(command: SimpleCommand, depth: number): void {
    const part = shown(command);
    if (part.text !== "") this.#parts.push(part);
    for (const assignment of command.assignments) this.add(judgeVariable(assignment.name, assignment.value));
    for (const { op, target } of command.redirects) this.add(op === "<" ? this.#reads(target) : judgeTarget(target, this.#around));
    const [first] = command.words;
    if (!first) {
      if (command.assignments.length + command.redirects.length > 0) this.#keys.add("=");
      return;
    }
    if (first.dynamic || first.spread) {
      this.#alike = false;
      return this.add({ risk: "critical", reason: `which program runs is only known when it runs: ${first.text}` });
    }
    const slash = first.text.lastIndexOf("/");
    const name = first.text.slice(slash + 1);
    if (!/^[\w.+\-[\]:(]+$/.test(name)) {
      this.#alike = false;
      return this.add({ risk: "critical", reason: `a program of a strange name: ${JSON.stringify(name)}` });
    }
    if (slash !== -1 && !SYSTEM_DIRECTORY.test(first.text)) this.add({ risk: "high", reason: `runs a program by its path: ${first.text}` });
    const judged = this.#judge(name, command);
    this.add(judged);
    this.#keys.add(keyOf(name, command));
    if (/command line|only known|may run|cannot/.test(judged.reason)) this.#alike = false;
    this.#wrapped(name, command, depth);
    if (judged.risk === "low" || WRITERS.has(name)) for (const word of command.words.slice(1)) this.add(this.#reads(word));
  }

  get #around(): Surroundings {
    return { place: this.#place, directories: this.#directories };
  }

  #judge(name: string, command: SimpleCommand): Judgement {
    const args = command.words.slice(1);
    if (/^(test|\[|\[\[|\(\(|let|declare|typeset|printf|export|readonly|local)$/.test(name) && args.some(({ text, dynamic }) => !dynamic && /\$\(|`|\[[^\]]*[$`]/.test(text))) {
      return { risk: "critical", reason: `${name} may run what its arguments hold` };
    }
    if (/^(export|declare|typeset|readonly|local|let)$/.test(name)) {
      for (const { text, dynamic } of args) {
        const match = /^([A-Za-z_]\w*)\+?=(.*)$/s.exec(text);
        if (match) this.add(judgeVariable(match[1] ?? "", { text: match[2] ?? "", dynamic, spread: false }));
        else if (dynamic || /^-\w*[nFf]/.test(text)) this.add({ risk: "high", reason: `what ${name} sets is only known when it runs` });
        else if (!text.startsWith("-") && POWERFUL_VARIABLE.test(text)) this.add({ risk: "high", reason: `passes ${text} on` });
      }
    }
    if (/^(read|for|getopts|mapfile|readarray)$/.test(name)) for (const { text } of args) if (!text.startsWith("-") && POWERFUL_VARIABLE.test(text)) this.add({ risk: "critical", reason: `sets ${text}` });
    if (/^(cd|pushd|popd)$/.test(name) && this.#directories.some((each) => each === null || !isInside(each, this.#place.workspace))) return { risk: "medium", reason: "leaves the workspace" };
    if (name === "git") {
      return worst(this.#directories.map((from) => judgeGit(args, this.#place, from)));
    }
    const known = Object.hasOwn(BY_NAME, name) ? BY_NAME[name] : undefined;
    const special = judgeByArguments(name, command, this.#around);
    if (special) return known && special.risk !== known.risk && worse(known.risk, special.risk) === known.risk ? { ...special, risk: known.risk, reason: known.reason } : special;
    const [only] = args;
    if (args.length === 1 && only && /^(--version|-V|--help)$/.test(only.text) && (known?.risk === "high" || BUILDERS.has(name) || READERS.has(name))) return { risk: "low", reason: `${name} tells about itself` };
    if (/^mkfs(\.|$)/.test(name)) return { risk: "critical", reason: "writes to devices or file systems" };
    if (known) return known;
    if (READERS.has(name)) return { risk: "low", reason: `${name} reads` };
    if (BUILDERS.has(name)) return this.#builds(name, args);
    if (WRITERS.has(name)) return worst([{ risk: "medium", reason: `${name} writes` }, ...args.filter(({ text }) => !text.startsWith("-")).map((word) => judgeTarget(word, this.#around))]);
    return /^(sh|bash|zsh|dash|ash|ksh|mksh|rbash)$/.test(name) ? this.#shell(name, args) : { risk: "high", reason: `${name} is not known` };
  }

  #shell(name: string, args: readonly Word[]): Judgement {
    if (args.some(({ text }) => /^-[A-Za-z]*c/.test(text))) return { risk: "low", reason: `${name} runs the command that it is given` };
    return { risk: "high", reason: `${name} runs a script` };
  }

  #builds(name: string, args: readonly Word[]): Judgement {
    const dynamic = args.some((word) => word.dynamic);
    if (args.some(({ text }) => /^(install|deploy|publish|release|uninstall|clean|distclean|upload|push)/.test(text))) return { risk: "critical", reason: `${name} is told to install, publish or delete` };
    if (dynamic || args.some(({ text }) => /^(-f|-C|-I|--file|--directory|--makefile|--config|--rootdir|--plugin|--init-script|--build-file|-D|SHELL=|CC=|[A-Z]+=)/.test(text))) return { risk: "high", reason: `${name} is told to work in another place or way` };
    return { risk: "medium", reason: `${name} checks or builds the project` };
  }

  #wrapped(name: string, command: SimpleCommand, depth: number): void {
    const wrapped = unwrap(name, command);
    if (!wrapped) return;
    for (const words of wrapped.commands) {
      const bare = words.findIndex(({ text }) => !/^[A-Za-z_]\w*=/.test(text));
      const given = words.slice(0, bare === -1 ? undefined : bare);
      const assignments = given.map((word) => ({ name: word.text.slice(0, word.text.indexOf("=")), value: { ...word, text: word.text.slice(word.text.indexOf("=") + 1) } }));
      const inner: SimpleCommand = { assignments, words: bare === -1 ? [] : words.slice(bare), redirects: [], piped: command.piped, ...(command.here !== undefined && { here: command.here }) };
      if (depth > MAX_DEPTH) this.script("(", depth + 1);
      else if (inner.words.length + assignments.length > 0) this.command(inner, depth + 1);
    }
    for (const script of wrapped.scripts) {
      if (script !== null) this.script(script, depth + 1);
      else {
        this.#alike = false;
        this.add({ risk: "critical", reason: `${name} runs what is only known when it runs` });
      }
    }
  }

  #reads(word: Word): Judgement {
    const { text } = word;
    // `--file=path`, `-f=path` and `@path` name files too.
    const paths = [text, text.replace(/^-{1,2}[\w-]+=/, ""), text.replace(/^@/, "")];
    if (word.spread && /^(~|\/(etc|proc|root|home|Users|var|\*|\?|\[))|(^|[/{,])\.\.([/},]|$)/.test(text)) return { risk: "high", reason: `reads files outside the workspace that are only known when it runs: ${text}` };
    return worst(paths.flatMap((path) => this.#directories.map((from) => judgeRead(path, this.#place, from))));
  }

  /** Remembers where a `cd` may have led. */
  #follow({ words }: SimpleCommand): void {
    if (!/^(cd|pushd|popd)$/.test(words[0]?.text ?? "")) return;
    const target = words.slice(1).find(({ text }) => !/^-[LPe@]+$/.test(text));
    const known = target && !target.dynamic && !target.spread && target.text !== "-" && words[0]?.text !== "popd";
    const next = known ? this.#directories.map((from) => (from === null && !/^[/~]/.test(target.text) ? null : resolvePath(target.text, from ?? "/", this.#place.home))) : [target === undefined && words[0]?.text === "cd" ? this.#place.home : null];
    if (next.length > MAX_DIRECTORIES) next.splice(MAX_DIRECTORIES, next.length, null);
    for (const directory of next) if (!this.#directories.includes(directory)) this.#directories.push(directory);
  }
}

function judgeVariable(name: string, value: Word): Judgement {
  if (POWERFUL_VARIABLE.test(name) && !HARMLESS_VARIABLE.test(name)) return { risk: "critical", reason: `sets ${name}, which decides what other commands do` };
  if (HARMLESS_VARIABLE.test(name) || LOCAL_VARIABLE.test(name)) return !value.dynamic && /\$\(|`/.test(value.text) ? { risk: "high", reason: `${name} holds what may be run later` } : { risk: "low", reason: `sets ${name}` };
  return { risk: "medium", reason: `sets ${name}` };
}

/** Program and subcommand; for programs without one, with what they run. */
function keyOf(name: string, { words, redirects }: SimpleCommand): string {
  const writes = redirects.some(({ op }) => op !== "<") ? " >" : "";
  const first = words.slice(1).find(({ text }) => !text.startsWith("-"))?.text;
  const told = name === "git" || Object.hasOwn(SUBCOMMANDS, name) || BY_NAME[name]?.risk === "high" || BUILDERS.has(name) || name.endsWith("sh");
  return `${name}${told && first !== undefined ? ` ${first}` : ""}${writes}`;
}

function shown({ assignments, words, redirects }: SimpleCommand): { text: string; bare: string } {
  const bare = words.map(({ text }) => text).join(" ");
  const before = assignments.map(({ name, value }) => `${name}=${value.text}`);
  const after = redirects.map(({ op, target }) => `${op} ${target.text}`);
  return { text: [...before, ...(bare === "" ? [] : [bare]), ...after].join(" "), bare };
}

