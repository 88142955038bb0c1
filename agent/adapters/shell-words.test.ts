import { describe, expect, it } from "vitest";
import { unwrapShell } from "./shell-words.ts";

describe("taking the shell off a command", () => {
  it.each([
    ["/bin/bash -lc 'ls; echo hi'", "ls; echo hi"],
    ["/bin/bash -lc ls", "ls"],
    ["bash -c \"git status\"", "git status"],
    [`/usr/bin/zsh -lc 'echo '"'"'quoted'"'"''`, "echo 'quoted'"],
    ["/bin/bash -lc 'one\ntwo'", "one\ntwo"],
  ])("%s is %s", (command, inner) => {
    expect(unwrapShell(command)).toBe(inner);
  });

  it.each(["ls -la", "/bin/bash -lc 'ls' extra", "/bin/bash -lc 'ls'; rm -rf /", `bash -c "echo $HOME"`, "bash -c \"a\\\"b\"", "bash -x -c ls", "sudo bash -c 'ls'", "bash -c 'open"])("leaves %s to the letter", (command) => {
    expect(unwrapShell(command)).toBe(command);
  });
});
