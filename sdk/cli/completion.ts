/** Owns the completion scripts: words and options of every command, derived from the definitions. */

import { dashed, type Command } from "./command.ts";
import { FORMATS } from "./output/print.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

export const GLOBAL_OPTIONS: readonly { flags: string; summary: string; value: boolean }[] = [
  { flags: "-o, --output <FORMAT>", summary: `${FORMATS.join(", ")} (default table)`, value: true },
  { flags: "--context <NAME>", summary: "the context to use (MARIONETTE_CONTEXT)", value: true },
  { flags: "--url <URL>", summary: "the server's address (MARIONETTE_API_URL)", value: true },
  { flags: "--api-key <KEY>", summary: "Marionette's API key (MARIONETTE_API_KEY)", value: true },
  { flags: "--no-color", summary: "no colours (NO_COLOR)", value: false },
  { flags: "-q, --quiet", summary: "data alone, no progress", value: false },
  { flags: "-v, --verbose", summary: "everything, and what mctl does", value: false },
];

interface Level {
  /** Words typed before: "", "sessions", "sessions files". */
  path: string;
  words: { word: string; summary: string }[];
}

/** What may follow each beginning of a command. */
function levels(commands: readonly Command[]): Level[] {
  const found = new Map<string, Map<string, string>>();
  for (const command of commands) {
    const parts = command.name.split(" ");
    parts.forEach((word, i) => {
      const path = parts.slice(0, i).join(" ");
      const words = found.get(path) ?? new Map<string, string>();
      if (!words.has(word)) words.set(word, i === parts.length - 1 ? command.summary : "");
      found.set(path, words);
    });
  }
  return [...found].map(([path, words]) => ({ path, words: [...words].map(([word, summary]) => ({ word, summary })) }));
}

function optionsOf(command: Command): { name: string; summary: string; value: boolean; choices: readonly string[] }[] {
  return Object.entries(command.options).map(([key, option]) => ({ name: `--${dashed(key)}`, summary: option.summary, value: option.value !== null, choices: option.choices ?? [] }));
}

const globals = GLOBAL_OPTIONS.map(({ flags }) => /--[a-z-]+/.exec(flags)?.[0] ?? "");

/** The script for one shell, to be sourced. */
export function script(shell: Shell, commands: readonly Command[]): string {
  return shell === "bash" ? bash(commands) : shell === "zsh" ? zsh(commands) : fish(commands);
}

function bashCases(commands: readonly Command[]): string {
  const words = levels(commands).map(({ path, words }) => `    "${path}") words="${words.map(({ word }) => word).join(" ")}" ;;`);
  const options = commands.map((command) => `    "${command.name}") words="${[...optionsOf(command).map(({ name }) => name), ...globals].join(" ")}" ;;`);
  const choices = commands.flatMap((command) =>
    optionsOf(command).filter((option) => option.choices.length > 0).map((option) => `    "${command.name} ${option.name}") words="${option.choices.join(" ")}" ;;`),
  );
  return [
    "_mctl_words() { # the words typed so far → what may follow",
    '  local words=""; case "$1" in', ...words, "  esac; printf '%s' \"$words\"", "}",
    "_mctl_options() {",
    '  local words=""; case "$1" in', ...options, "  esac; printf '%s' \"$words\"", "}",
    "_mctl_choices() {",
    '  local words=""; case "$1" in', ...choices, `    *" --output"|*" -o") words="${FORMATS.join(" ")}" ;;`, "  esac; printf '%s' \"$words\"", "}",
  ].join("\n");
}

function bash(commands: readonly Command[]): string {
  return `# mctl completion for bash
${bashCases(commands)}
_mctl() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" path="" word i found
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    [[ "$word" == -* ]] && continue
    case " $(_mctl_words "$path") " in *" $word "*) path="\${path:+$path }$word" ;; *) break ;; esac
  done
  found="$(_mctl_choices "$path $previous")"
  if [[ -z "$found" ]]; then
    if [[ "$current" == -* ]]; then found="$(_mctl_options "$path")"; else found="$(_mctl_words "$path")"; fi
  fi
  COMPREPLY=($(compgen -W "$found" -- "$current"))
}
complete -o default -F _mctl mctl
`;
}

function zsh(commands: readonly Command[]): string {
  return `#compdef mctl
# mctl completion for zsh
${bashCases(commands)}
_mctl() {
  local current="\${words[CURRENT]}" previous="\${words[CURRENT-1]}" line="" word found i
  for ((i = 2; i < CURRENT; i++)); do
    word="\${words[i]}"
    [[ "$word" == -* ]] && continue
    case " $(_mctl_words "$line") " in *" $word "*) line="\${line:+$line }$word" ;; *) break ;; esac
  done
  found="$(_mctl_choices "$line $previous")"
  if [[ -z "$found" ]]; then
    if [[ "$current" == -* ]]; then found="$(_mctl_options "$line")"; else found="$(_mctl_words "$line")"; fi
  fi
  if [[ -n "$found" ]]; then compadd -- \${=found}; else _files; fi
}
if [[ "\${funcstack[1]}" == "_mctl" ]]; then _mctl; else compdef _mctl mctl; fi
`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", String.raw`\'`)}'`;
}

function fish(commands: readonly Command[]): string {
  const lines = levels(commands).flatMap(({ path, words }) =>
    words.map(({ word, summary }) => `complete -c mctl -n ${quoted(`__mctl_at "${path}"`)} -f -a ${quoted(word)}${summary ? ` -d ${quoted(summary)}` : ""}`),
  );
  const options = commands.flatMap((command) =>
    optionsOf(command).map(({ name, summary, value, choices }) => {
      const wants = value ? (choices.length > 0 ? ` -x -a ${quoted(choices.join(" "))}` : " -r") : "";
      return `complete -c mctl -n ${quoted(`__mctl_in "${command.name}"`)} -l ${name.slice(2)}${wants} -d ${quoted(summary)}`;
    }),
  );
  const global = GLOBAL_OPTIONS.map(({ flags, summary, value }) => {
    const [, short, long = ""] = /^(?:-(\w), )?--([a-z-]+)/.exec(flags) ?? [];
    return `complete -c mctl${short ? ` -s ${short}` : ""} -l ${long}${long === "output" ? ` -x -a ${quoted(FORMATS.join(" "))}` : value ? " -r" : ""} -d ${quoted(summary)}`;
  });
  return `# mctl completion for fish
function __mctl_line
  set -l words (commandline -opc)
  string match -v -- '-*' $words[2..-1]
end
function __mctl_at # exactly these words so far
  test (string join ' ' (__mctl_line)) = "$argv[1]"
end
function __mctl_in # these words first
  string match -q -- "$argv[1]*" (string join ' ' (__mctl_line))
end
${[...lines, ...options, ...global].join("\n")}
`;
}
