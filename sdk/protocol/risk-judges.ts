/** Owns the risk of programs that read or write, run or delete, depending on their arguments. */

import { DANGEROUS_CODE, INLINE_CODE, RUNS_INPUT, SUBCOMMANDS } from "./risk-commands.ts";
import { judgeWrite, type Judgement, type Place } from "./risk-paths.ts";
import type { SimpleCommand, Word } from "./shell-word.ts";

export interface Surroundings {
  place: Place;
  /** Every directory that a relative path may begin at; null among them where one is not known. */
  directories: readonly (string | null)[];
}
type Judge = (args: readonly Word[], around: Surroundings) => Judgement;

const low = (reason: string): Judgement => ({ risk: "low", reason });
const at = (risk: Judgement["risk"], reason: string): Judgement => ({ risk, reason });
const ORDER = ["low", "medium", "high", "critical"];

/** The worst of several judgements. */
export function worst(judgements: readonly Judgement[]): Judgement {
  return judgements.reduce((a, b) => (ORDER.indexOf(b.risk) > ORDER.indexOf(a.risk) ? b : a), low("reads only"));
}

/** Risk of writing to what a word names, seen from every directory that it may begin at. */
export function judgeTarget(word: Word, { place, directories }: Surroundings): Judgement {
  if (word.dynamic) {
    const known = /^[^$<]*/.exec(word.text)?.[0] ?? "";
    const judged = known.includes("/") ? worst(directories.map((from) => judgeWrite(known, place, from))) : low("");
    return judged.risk === "critical" ? judged : at("high", `writes to a path that is only known when it runs: ${word.text}`);
  }
  if (word.spread && /\.\.|^[{[*?]?-/.test(word.text)) return at("high", `writes to paths that are only known when it runs: ${word.text}`);
  return worst(directories.map((from) => judgeWrite(word.text, place, from)));
}

/** Arguments that are no options; `valued` options take the next word along. */
function operands(args: readonly Word[], valued: RegExp = /^$/): Word[] {
  const found: Word[] = [];
  for (let i = 0; i < args.length; i++) {
    const word = args[i] as Word;
    if (word.text === "--") return [...found, ...args.slice(i + 1)];
    if (valued.test(word.text)) i++;
    else if (!word.text.startsWith("-") || word.text === "-") found.push(word);
  }
  return found;
}
const has = (args: readonly Word[], pattern: RegExp) => args.some(({ text }) => pattern.test(text));
const unclear = (args: readonly Word[]) => args.some(({ dynamic, spread, text }) => dynamic || (spread && /^[{[*?]|-/.test(text)));
/** The value of an option, in its own word or the next. */
function valuesOf(args: readonly Word[], option: RegExp): Word[] {
  return args.flatMap((word, i) => {
    const match = option.exec(word.text);
    if (!match) return [];
    const own = word.text.slice(match[0].length).replace(/^=/, "");
    return own === "" ? (args[i + 1] ?? []) : [{ ...word, text: own }];
  });
}

const find: Judge = (args, around) => {
  if (has(args, /^-delete$/)) return at("critical", "find deletes");
  if (unclear(args.filter(({ text }) => !/^[*?[\]\w.{}+-]*$/.test(text) || text.includes("$")))) return at("high", "the arguments of find are only known when it runs");
  const written = valuesOf(args, /^-f(print0?|printf|ls)$/);
  return worst([low("find"), ...written.map((word) => judgeTarget(word, around))]);
};

/** Programs of sed that only print, substitute or delete lines of what they print. */
const SED_HARMLESS = /^(?:\s{0,4}(?:(?:\d+|\$|\/(?:[^/\\]|\\.)*\/I?)(?:\s?,\s?(?:\d+|\$|\+\d+|~\d+|\/(?:[^/\\]|\\.)*\/I?))?)?\s?!?\s?(?:[pdqQ=]|[nNDPgGhHx]|s([/|#,:@])(?:(?!\1)[^\\\n]|\\.)*\1(?:(?!\1)[^\\\n]|\\.)*\1[gipI0-9]*|y([/|#,:@])(?:(?!\2)[^\\\n]|\\.)*\2(?:(?!\2)[^\\\n]|\\.)*\2)?\s?(?:;|\n|$))+$/;
const sed: Judge = (args, around) => {
  if (unclear(args)) return at("high", "the arguments of sed are only known when it runs");
  if (has(args, /^(-f|--file)/)) return at("high", "sed runs a script from a file");
  const given = valuesOf(args, /^(?:-[nErsuz]*e|--expression)/);
  const rest = operands(args, /^(-[nErsuz]*e|--expression|-l|--line-length)$/);
  const scripts = given.length > 0 ? given : rest.splice(0, 1);
  if (!scripts.every(({ text }) => text.length <= 2_000 && SED_HARMLESS.test(text))) return at("critical", "this sed script may run commands or write files");
  if (!has(args, /^(-[nErsuz]*i|--in-place)/)) return low("sed prints");
  return worst([at("medium", "sed changes files"), ...rest.map((word) => judgeTarget(word, around))]);
};

const awk: Judge = (args) => {
  if (has(args, /^(-f|--file|-i|--include|-l|--load|-E|--exec|-e|--source|-o|-p|-d|-D|--profile|--pretty-print|--dump)/)) return at("critical", "awk runs or writes more than its arguments show");
  const [program] = operands(args, /^(-F|-v|--field-separator|--assign)$/);
  if (!program) return low("awk");
  if (program.dynamic) return at("critical", "the awk program is only known when it runs");
  return /system|getline|[|>]|@|close|fflush|include|load/.test(program.text.replaceAll(/(?<=[\w\s)$])(?:>=|>)\s*\d+(?=[\s&|{)]|$)|\|\|/g, "")) ? at("critical", "this awk program may run commands or write files") : low("awk prints");
};

const tar: Judge = (args, around) => {
  const [first] = args;
  const mode = /^-?[A-Za-z]+$/.test(first?.text ?? "") ? (first?.text ?? "") : "";
  if (has(args, /^--(checkpoint-action|to-command|use-compress-program|rsh-command|rmt-command|info-script|new-volume-script|remove-files|absolute-names|unlink-first|recursive-unlink|owner|delete)/) || has(args, /^-[A-Za-z]*[IFPU]/) || /[IFPU]/.test(mode)) {
    return at("critical", "tar runs a program, deletes files or leaves the workspace");
  }
  if (unclear(args.filter(({ text }) => text.startsWith("-") || text.includes("$")))) return at("high", "the arguments of tar are only known when it runs");
  const written = [...valuesOf(args, /^(?:-[A-Za-z]*C|--directory)/), ...(mode.includes("x") || mode.includes("t") ? [] : valuesOf(args, /^(?:-?[A-Za-z]*f|--file)$/))];
  if (mode.includes("t") || has(args, /^--list$/)) return low("tar lists");
  return worst([at("medium", "tar packs or unpacks"), ...written.map((word) => judgeTarget(word, around))]);
};

const chmod: Judge = (args, around) => {
  if (has(args, /^(-[A-Za-z]*R|--recursive|--reference)/)) return at("critical", "changes modes of a whole tree");
  const [mode, ...files] = args.filter(({ text }) => !/^--?[a-z]*$/.test(text) || /^-[rwxXst]+$/.test(text));
  if (!mode || mode.dynamic || /s|^[2467]\d{3}$/.test(mode.text)) return at("critical", "may let others act with the owner's rights");
  return worst([at("medium", "chmod"), ...files.map((word) => judgeTarget(word, around))]);
};

const writes = (name: string, valued?: RegExp): Judge => (args, around) => worst([at("medium", `${name} writes`), ...operands(args, valued).map((word) => judgeTarget(word, around))]);
const lastWritten = (name: string): Judge => (args, around) => {
  const [target, ...more] = [...valuesOf(args, /^(?:-t|--target-directory)/), ...operands(args, /^(-t|--target-directory|-S|--suffix|-m|--mode|-o|-g)$/).slice(-1)];
  const whole = target === undefined ? [] : [target, ...more].map((word) => judgeTarget(word, around));
  // A name that leads out of the workspace can be written through later.
  const led = name === "ln" ? operands(args).slice(0, 1).map((word) => judgeTarget(word, around)).map((judged) => (judged.risk === "critical" ? at("critical", "links to a place outside the workspace") : judged)) : [];
  const moved = name === "mv" ? operands(args).slice(0, -1).map((word) => judgeTarget(word, around)) : [];
  return worst([at("medium", `${name} writes`), ...whole, ...led, ...moved]);
};

/** Programs that download: what they write must lie inside, what they read from a file is not seen. */
const download: Judge = (args, around) => {
  if (has(args, /^(-[a-zA-Z]*K|--config|--use-askpass|-e$|--execute|--input-file|-[a-z]*i$|--post-file|--body-file)/)) return at("critical", "takes its orders from a file, or sends one");
  const written = valuesOf(args, /^(?:-[sSLfkgv#]*[oOP]|--output(?:-document|-dir)?|--directory-prefix|--cookie-jar|--dump-header|-[cD]|--trace(?:-ascii)?|--stderr)/).filter(({ text }) => !/^(-|https?:)/.test(text));
  const sends = has(args, /^(-d|--data.*|-F|--form.*|-T|--upload-file|--json|--post-data)/);
  return worst([at("high", sends ? "sends data over the network" : "uses the network"), ...written.map((word) => judgeTarget(word, around))]);
};

const only = (name: string, options: RegExp, risk: Judgement["risk"], reason: string): Judge => (args) => (has(args, options) || unclear(args.filter(({ text }) => text.startsWith("-") || text.startsWith("$"))) ? at(risk, reason) : low(name));

const JUDGES: Readonly<Record<string, Judge>> = {
  find, gfind: find, sed, gsed: sed, awk, gawk: awk, mawk: awk, nawk: awk, tar, gtar: tar, bsdtar: tar, chmod,
  fd: only("fd", /^(-x|-X|--exec)/, "medium", "fd runs a command"),
  rg: only("rg", /^(--pre|--hostname-bin|--search-zip|-[a-z]*z)/, "critical", "rg runs a program"),
  ag: only("ag", /^--pager/, "critical", "ag runs a program"),
  xargs: () => low("xargs"), gxargs: () => low("xargs"), command: () => low("command"), builtin: () => low("builtin"), exec: () => low("exec"), eval: () => at("medium", "evaluates its arguments"), trap: () => at("medium", "runs a command later"),
  env: (args) => (has(args, /^(-[a-z]*[SC]|--split-string|--chdir)/) ? at("medium", "env rearranges a command") : low("env")),
  tree: only("tree", /^(-o|-R)/, "high", "tree writes a file"),
  sort: (args, around) => (has(args, /^--(compress-program|files0-from)/) ? at("critical", "sort runs a program") : unclear(args.filter(({ text }) => /^[-$]/.test(text))) ? at("high", "the arguments of sort are only known when it runs") : worst([low("sort"), ...valuesOf(args, /^(?:-[a-zA-Z]*o|--output)/).map((word) => judgeTarget(word, around))])),
  uniq: (args, around) => worst([low("uniq"), ...operands(args, /^-[fsw]$/).slice(1).map((word) => judgeTarget(word, around))]),
  xxd: (args, around) => (unclear(args) ? at("high", "the arguments of xxd are only known when it runs") : worst([low("xxd"), ...operands(args, /^-[clso]$/).slice(1).map((word) => judgeTarget(word, around))])),
  base64: () => low("base64"), base32: () => low("base32"),
  file: only("file", /^(-C|--compile|-z|-m|--magic-file)/, "high", "file writes or obeys a file"),
  date: only("date", /^(-s|--set|[0-9]{8,})/, "critical", "sets the system's clock"),
  printf: (args) => (has(args, /^-v/) ? at("high", "printf sets a variable") : low("printf")),
  mapfile: only("mapfile", /^-[A-Za-z]*[Cc]/, "critical", "mapfile runs a command"), readarray: only("readarray", /^-[A-Za-z]*[Cc]/, "critical", "readarray runs a command"),
  set: (args) => (args.every(({ text, dynamic }) => !dynamic && /^([-+][eufCnv]+|[-+]e?u?x?|[-+][eux]*o|pipefail|errexit|nounset|--)$/.test(text)) ? low("set") : at("high", "set changes how the shell works")),
  umask: () => at("medium", "umask"), ulimit: () => at("medium", "ulimit"),
  export: () => low("export"), declare: () => at("medium", "declare"), typeset: () => at("medium", "typeset"), local: () => low("local"), readonly: () => low("readonly"), unset: () => at("medium", "unset"), let: () => at("medium", "let"),
  yq: (args, around) => (has(args, /^(-i|--inplace|-s|--split-exp)/) ? writes("yq")(args.slice(1), around) : unclear(args) ? at("medium", "yq") : low("yq")),
  mkdir: writes("mkdir", /^(-m|--mode)$/), touch: writes("touch", /^(-d|-t|-r)$/), tee: writes("tee"), mkfifo: writes("mkfifo"), mktemp: () => at("medium", "mktemp makes a file"),
  cp: lastWritten("cp"), mv: lastWritten("mv"), ln: lastWritten("ln"), install: lastWritten("install"),
  zip: (args, around) => (has(args, /^(-[a-zA-Z]*T|--unzip-command|-m|--move)/) ? at("critical", "zip runs a program or deletes") : worst([at("medium", "zip writes"), ...operands(args).slice(0, 1).map((word) => judgeTarget(word, around))])),
  unzip: (args, around) => (has(args, /^-[a-zA-Z]*[l]/) ? low("unzip lists") : worst([at("medium", "unzip writes"), ...valuesOf(args, /^-d/).map((word) => judgeTarget(word, around))])),
  patch: (args, around) => (has(args, /^(-[a-z]*[dD]|--directory|--posix)/) ? at("high", "patch writes in another directory") : worst([at("medium", "patch writes"), ...operands(args, /^(-p|-i|-o|-r|-B)$/).map((word) => judgeTarget(word, around))])),
  curl: download, wget: download,
};

/** Judges a program by its arguments; null where nothing special is known of it. */
export function judgeByArguments(name: string, command: SimpleCommand, around: Surroundings): Judgement | null {
  const args = command.words.slice(1);
  const inline = Object.hasOwn(INLINE_CODE, name) ? INLINE_CODE[name] : undefined;
  if (inline) {
    const from = args.findIndex(({ text }) => inline.test(text));
    if (from !== -1) {
      const code = args.slice(from).map(({ text }) => text).join(" ");
      return args.some(({ dynamic }) => dynamic) || DANGEROUS_CODE.test(code) ? at("critical", `runs code from the command line: ${name}`) : at("high", `runs code from the command line: ${name}`);
    }
  }
  if (RUNS_INPUT.has(name) && (command.piped || command.here !== undefined) && (operands(args).length === 0 || args.some(({ text }) => text === "-"))) return at("critical", `${name} may run what it is fed`);
  if (Object.hasOwn(JUDGES, name)) return JUDGES[name]?.(args, around) ?? null;
  if (Object.hasOwn(SUBCOMMANDS, name)) {
    const table = SUBCOMMANDS[name];
    const [first] = operands(args);
    if (!table || args.some(({ dynamic, spread }, i) => (dynamic || spread) && i === 0)) return at("high", `what ${name} is told is only known when it runs`);
    if (!first) return has(args, /^(-v|-V|--version|--help)$/) && args.length === 1 ? low(`${name} prints its version`) : at("high", table.reason);
    if (args[0] !== first) return at("high", `options before the command of ${name}`);
    if (table.critical?.has(first.text)) return at("critical", `${name} ${first.text} acts on a registry in your name`);
    if (table.low?.has(first.text)) return low(`${name} ${first.text}`);
    if (table.medium?.has(first.text)) return has(args, /^(--prefix|-C|--cwd|--script-shell|--node-options|-exec|-toolexec|--config|-vettool)/) ? at("high", `${name} ${first.text} in another place or way`) : at("medium", `${name} ${first.text} runs the project's own code`);
    return at("high", table.reason);
  }
  return null;
}
