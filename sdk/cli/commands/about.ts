/** Owns `mctl version` and `mctl completion`. */

import { defineCommand, type Command } from "../command.ts";
import { script, SHELLS } from "../completion.ts";
import { UserError } from "../io.ts";
import { VERSION } from "../version.ts";

export const versionCommand = defineCommand({
  name: "version",
  summary: "Print mctl's version",
  options: {},
  examples: [["version", ""]],
  async run(context) {
    const about = { version: VERSION, node: process.version };
    context.out.one(about, () => [`mctl ${VERSION} (Node ${process.version})`]);
  },
});

/** Completion needs to know all commands, itself included: they are given when it runs. */
export function completionCommand(all: () => readonly Command[]): Command {
  return defineCommand({
    name: "completion",
    summary: "Print a script that completes mctl's commands in your shell",
    args: [{ name: "shell", summary: "bash, zsh or fish" }],
    options: {},
    examples: [
      ["completion bash > ~/.local/share/bash-completion/completions/mctl", ""],
      ['completion zsh > "${fpath[1]}/_mctl"', ""],
      ["completion fish > ~/.config/fish/completions/mctl.fish", ""],
    ],
    async run(context, { shell = "" }) {
      const found = SHELLS.find((name) => name === shell);
      if (!found) throw new UserError(`No completion for '${shell}'`, `one of ${SHELLS.join(", ")}`);
      context.out.write(script(found, all()));
    },
  });
}
