/** Owns looking into commands that run other commands: `sudo`, `env`, `xargs`, `find -exec`, `sh -c`, `ssh` and their like. */

import { literal, type SimpleCommand, type Word } from "./shell-word.ts";

/** What a wrapper runs: words of a command, or text for a shell; null where only its run will tell. */
export interface Wrapped {
  commands: Word[][];
  scripts: (string | null)[];
}

type Unwrap = (args: Word[], command: SimpleCommand) => Wrapped;

const NOTHING: Wrapped = { commands: [], scripts: [] };
const UNKNOWN: Wrapped = { commands: [], scripts: [null] };
const run = (words: Word[]): Wrapped => (words.length === 0 ? NOTHING : { commands: [words], scripts: [] });
const script = (word: Word): string | null => (word.dynamic ? null : word.text);

/** Arguments behind the options; `valued` are options whose value is a word of its own. Null where the options are unclear. */
function behindOptions(args: Word[], valued: readonly string[], count = 0): Word[] | null {
  let at = 0;
  for (; at < args.length; at++) {
    const word = args[at] as Word;
    if (word.text === "--") {
      at++;
      break;
    }
    if (!word.text.startsWith("-") || word.text === "-") {
      if (word.dynamic || word.spread) return null;
      break;
    }
    if (word.dynamic || word.spread) return null;
    if (valued.includes(word.text)) at++;
  }
  return args.slice(at + count);
}

/** A wrapper that takes options, then `count` words of its own, then a command. */
const plain =
  (valued: readonly string[] = [], count = 0): Unwrap =>
  (args) => {
    const rest = behindOptions(args, valued, count);
    return rest === null ? UNKNOWN : run(rest);
  };

/** As `plain`, with `NAME=value` words before the command; those come back as the command's first words. */
const withVariables =
  (valued: readonly string[]): Unwrap =>
  (args) => {
    const rest = behindOptions(args, valued);
    return rest === null ? UNKNOWN : run(rest);
  };

/** Words joined by spaces into a script. */
function joined(words: Word[]): Wrapped {
  if (words.length === 0) return NOTHING;
  return { commands: [], scripts: [words.some(({ dynamic }) => dynamic) ? null : words.map(({ text }) => text).join(" ")] };
}

/** `sh -c script name args`, `sh file`, or `sh` that reads its input. */
const shell: Unwrap = (args, command) => {
  for (const [at, word] of args.entries()) {
    if (word.dynamic || word.spread) return UNKNOWN;
    if (!/^[-+]/.test(word.text)) return NOTHING;
    if (/^-[A-Za-z]*c[A-Za-z]*$/.test(word.text)) {
      let next = at + 1;
      while (/^[-+]/.test(args[next]?.text ?? "")) next++;
      const text = args[next];
      // What follows becomes $0, $1 …, which the script may run.
      return text === undefined ? NOTHING : { commands: [], scripts: [script(text)] };
    }
    if (word.text === "-o" || word.text === "+o" || word.text === "-O") return UNKNOWN;
    if (word.text === "--rcfile" || word.text === "--init-file" || word.text === "-s") return UNKNOWN;
  }
  if (command.here !== undefined) return { commands: [], scripts: [command.here] };
  return UNKNOWN;
};

const env: Unwrap = (args, command) => {
  const split = args.findIndex(({ text }) => /^(-[a-z]*S|--split-string)/.test(text));
  const end = args.findIndex(({ text }) => !text.startsWith("-") && !/^[A-Za-z_]\w*=/.test(text));
  if (split !== -1 && (end === -1 || split <= end)) {
    const option = args[split] as Word;
    if (option.dynamic) return UNKNOWN;
    const own = option.text.replace(/^(-[a-z]*S|--split-string=?)/, "");
    return joined([...(own === "" ? [] : [literal(own)]), ...args.slice(split + 1)]);
  }
  return withVariables(["-u", "--unset", "-C", "--chdir"])(args, command);
};

const xargs: Unwrap = (args) => {
  const rest = behindOptions(args, ["-I", "-L", "-n", "-P", "-s", "-d", "-E", "-a", "--arg-file", "--delimiter", "--max-args", "--max-procs", "--max-lines", "--replace"]);
  if (rest === null) return UNKNOWN;
  // What it reads becomes arguments that nobody has seen.
  return run([...(rest.length === 0 ? [literal("echo")] : rest), { text: "…", dynamic: true, spread: true }]);
};

const find: Unwrap = (args) => {
  const commands: Word[][] = [];
  for (let at = 0; at < args.length; at++) {
    if (!/^-(exec|execdir|ok|okdir)$/.test(args[at]?.text ?? "")) continue;
    const end = args.findIndex(({ text }, index) => index > at && (text === ";" || text === "+"));
    const words = args.slice(at + 1, end === -1 ? undefined : end);
    commands.push(words.map((word) => (word.text.includes("{}") ? { ...word, dynamic: true } : word)));
    at = end === -1 ? args.length : end;
  }
  return { commands, scripts: [] };
};

const parallel: Unwrap = (args) => {
  const rest = behindOptions(args, ["-j", "--jobs", "-a", "--arg-file", "-N", "-n", "-L", "-S", "--sshlogin", "-C", "--colsep", "-I"]);
  if (rest === null) return UNKNOWN;
  const end = rest.findIndex(({ text }) => text.startsWith(":::"));
  const words = end === -1 ? rest : rest.slice(0, end);
  return words.length === 0 ? UNKNOWN : joined(words);
};

const ssh: Unwrap = (args) => {
  const rest = behindOptions(args, ["-b", "-c", "-D", "-E", "-e", "-F", "-I", "-i", "-J", "-L", "-l", "-m", "-O", "-o", "-p", "-Q", "-R", "-S", "-W", "-w"], 1);
  return rest === null ? UNKNOWN : joined(rest);
};

const optionScript =
  (option: RegExp, valued: readonly string[] = [], count = 0): Unwrap =>
  (args) => {
    const at = args.findIndex(({ text }) => option.test(text));
    const word = args[at + 1];
    if (at !== -1 && word) return { commands: [], scripts: [script(word)] };
    const rest = behindOptions(args, valued, count);
    return rest === null ? UNKNOWN : run(rest);
  };

const SUDO = ["-u", "--user", "-g", "--group", "-p", "--prompt", "-C", "-D", "--chdir", "-h", "--host", "-R", "--chroot", "-r", "-t", "-T", "-U"];

const WRAPPERS: Readonly<Record<string, Unwrap>> = {
  sudo: withVariables(SUDO),
  doas: withVariables(["-u", "-C", "-a"]),
  run0: plain(["-u", "--user"]),
  su: optionScript(/^(-c|--command)$/, ["-s", "--shell"], 1),
  runuser: optionScript(/^(-c|--command)$/, ["-u", "--user", "-s"]),
  sg: optionScript(/^-c$/, [], 1),
  pkexec: plain(["--user"]),
  env,
  nice: plain(["-n", "--adjustment"]),
  ionice: plain(["-c", "-n", "--class", "--classdata"]),
  chrt: plain([], 1),
  taskset: plain([], 1),
  nohup: plain(),
  setsid: plain(),
  stdbuf: plain(["-i", "-o", "-e"]),
  unbuffer: plain(),
  chronic: plain(),
  timeout: plain(["-s", "--signal", "-k", "--kill-after"], 1),
  gtimeout: plain(["-s", "--signal", "-k", "--kill-after"], 1),
  time: plain(["-f", "--format", "-o", "--output"]),
  gtime: plain(["-f", "--format", "-o", "--output"]),
  xargs,
  gxargs: xargs,
  find,
  gfind: find,
  fd: (args) => {
    const at = args.findIndex(({ text }) => /^(-x|-X|--exec|--exec-batch)$/.test(text));
    return at === -1 ? NOTHING : run(args.slice(at + 1));
  },
  parallel,
  ssh,
  mosh: ssh,
  watch: (args) => {
    const rest = behindOptions(args, ["-n", "--interval", "-q", "--equexit"]);
    return rest === null ? UNKNOWN : joined(rest);
  },
  eval: (args) => joined(args[0]?.text === "--" ? args.slice(1) : args),
  exec: plain(["-a"]),
  command: (args, command) => (/^-[vV]+$/.test(args[0]?.text ?? "") ? NOTHING : plain()(args, command)),
  builtin: plain(),
  trap: (args) => {
    const words = args.filter(({ text }) => text !== "--");
    return words.length < 2 || words[0]?.text === "-l" || words[0]?.text === "-p" ? NOTHING : { commands: [], scripts: [script(words[0] as Word)] };
  },
  busybox: plain(),
  toybox: plain(),
  flock: optionScript(/^(-c|--command)$/, ["-w", "--timeout", "-E"], 1),
  script: optionScript(/^(-[a-z]*c|--command)$/, [], 99),
  strace: plain(["-e", "-o", "-p", "-s", "-u"]),
  ltrace: plain(["-e", "-o", "-p", "-s", "-u"]),
  unshare: plain(),
  nsenter: plain(["-t", "--target"]),
  chroot: plain([], 1),
  "systemd-run": plain(["-p", "--property", "-u", "--unit"]),
  proxychains: plain(["-f"]),
  proxychains4: plain(["-f"]),
  torsocks: plain(),
  rlwrap: plain(),
  caffeinate: plain(),
  ...Object.fromEntries(["sh", "bash", "zsh", "dash", "ash", "ksh", "mksh", "rbash"].map((name) => [name, shell])),
};

/** What a command runs besides itself; null where it is no wrapper. */
export function unwrap(name: string, command: SimpleCommand): Wrapped | null {
  if (!Object.hasOwn(WRAPPERS, name)) return null;
  return WRAPPERS[name]?.(command.words.slice(1), command) ?? null;
}
