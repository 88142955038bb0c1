/** Owns the risk of git commands: what reads, what writes, what reaches out, and the options by which git runs other programs. */

import { judgeWrite, type Judgement, type Place } from "./risk-paths.ts";
import type { Word } from "./shell-word.ts";

const words = (text: string): ReadonlySet<string> => new Set(text.split(" "));
const READS = words("status diff log show blame annotate rev-parse ls-files ls-tree describe shortlog grep cat-file name-rev merge-base rev-list whatchanged show-ref for-each-ref count-objects check-ignore check-attr var version help diff-tree diff-index diff-files range-diff cherry verify-commit verify-tag show-branch");
const WRITES = words("add commit checkout switch merge cherry-pick revert am apply init mv notes format-patch tag branch stash worktree reset rebase bisect remote config restore submodule reflog sparse-checkout archive bundle");
const REACHES = words("fetch pull push clone ls-remote send-email svn p4 request-pull lfs remote-http daemon");
const DESTROYS: Readonly<Record<string, string>> = {
  clean: "deletes files that git does not know", rm: "deletes files", "filter-branch": "rewrites history", "filter-repo": "rewrites history", "update-ref": "moves branches by hand",
  gc: "removes old objects", prune: "removes old objects", repack: "removes old objects", "fast-import": "rewrites history", replace: "rewrites history", "symbolic-ref": "moves branches by hand", hook: "runs hooks",
};
/** Options by which git runs a program that the command line names. */
const RUNS = /^(--upload-pack|--receive-pack|--exec|--extcmd|--open-files-in-pager|--ext-diff|--tool|--config|--template|--gpg-sign=.*|--show-signature|--filters|--textconv)(=|$)/;
const SAFE_KEYS = /^(user\.(name|email)|color\.\w+|core\.(quotepath|autocrlf|filemode|ignorecase)|advice\.\w+|init\.defaultbranch|commit\.gpgsign|pull\.(rebase|ff)|push\.default|diff\.renames|log\.\w+|column\.\w+|protocol\.version|safe\.directory)$/i;

const low = (reason: string): Judgement => ({ risk: "low", reason });
const medium = (reason: string): Judgement => ({ risk: "medium", reason });
const high = (reason: string): Judgement => ({ risk: "high", reason });
const critical = (reason: string): Judgement => ({ risk: "critical", reason });

/** Judges the arguments of git. `from` is the directory it runs in, null where that is not known. */
export function judgeGit(args: readonly Word[], place: Place, from: string | null): Judgement & { subcommand: string | null } {
  let at = 0;
  let elsewhere = false;
  for (; at < args.length; at++) {
    const { text, dynamic, spread } = args[at] as Word;
    if (dynamic || spread) return { ...critical("what git is told is only known when it runs"), subcommand: null };
    if (text === "-c" || text === "--config-env") {
      const key = (args[at + 1]?.text ?? "").split("=", 1)[0] ?? "";
      if (text !== "-c" || !SAFE_KEYS.test(key)) return { ...critical(`git is told to run or obey ${key || "something"}`), subcommand: null };
      at++;
    } else if (/^(-C|--git-dir|--work-tree|--namespace|--exec-path|--super-prefix|--attr-source)$/.test(text)) {
      if (text !== "-C" && text !== "--namespace") return { ...critical("git is pointed at another repository's settings"), subcommand: null };
      elsewhere = true;
      at++;
    } else if (/^--(exec-path|git-dir|work-tree|config-env|super-prefix)=/.test(text)) return { ...critical("git is pointed at another repository's settings"), subcommand: null };
    else if (text === "-p" || text === "--paginate") return { ...high("git is told to use a pager"), subcommand: null };
    else if (!text.startsWith("-")) break;
  }
  const subcommand = args[at]?.text ?? null;
  if (subcommand === null) return { ...low("git without a command prints its help"), subcommand };
  const judged = judgeSubcommand(subcommand, args.slice(at + 1), place, elsewhere ? null : from);
  return { ...judged, risk: elsewhere && judged.risk === "low" ? "medium" : judged.risk, subcommand };
}

function judgeSubcommand(name: string, args: readonly Word[], place: Place, from: string | null): Judgement {
  if (Object.hasOwn(DESTROYS, name)) return name === "clean" && args.some(({ text }) => /^(-[a-z]*n|--dry-run)/.test(text)) ? low("git clean, only told") : critical(`git ${name} ${DESTROYS[name] ?? ""}`);
  const texts = args.map(({ text }) => text);
  const unclear = args.some(({ dynamic, spread, text }) => dynamic || (spread && text.startsWith("-")));
  const has = (pattern: RegExp) => texts.some((text) => pattern.test(text));
  const first = texts.find((text) => !text.startsWith("-"));
  const bare = texts.filter((text) => !text.startsWith("-")).length === 0;
  if (has(RUNS) || (name === "grep" && has(/^-O/)) || has(/^ext::/)) return critical(`git ${name} is told to run a program`);
  if (unclear && !["add", "commit"].includes(name)) return high(`the arguments of git ${name} are only known when it runs`);
  const output = texts.find((text) => text.startsWith("--output"));
  if (output !== undefined) return judgeWrite(output.includes("=") ? output.slice(output.indexOf("=") + 1) : (texts[texts.indexOf(output) + 1] ?? ""), place, from);
  switch (name) {
    case "push":
      return has(/^(-[a-z]*[fd]|--force.*|--delete|--mirror|--prune|\+.*|:.+)$/) ? critical("git push overwrites or deletes what others have") : high("git push sends to a remote");
    case "reset":
      return has(/^--(hard|merge|keep)$/) ? critical("git reset throws changes away") : medium("git reset");
    case "checkout":
    case "restore":
    case "switch":
      if (has(/^(-[a-z]*f|--force|--discard-changes|-B|-C|--overwrite-ignore)$/)) return critical(`git ${name} throws changes away`);
      if (name === "restore" ? !has(/^(--staged|-S)$/) || has(/^(--worktree|-W)$/) : has(/^(--|\.|\.\/.*)$/)) return high(`git ${name} may throw changes away`);
      return medium(`git ${name}`);
    case "branch":
      if (has(/^(-[a-zA-Z]*[dDfM]|--delete|--force)$/)) return critical("git branch deletes or overwrites");
      return bare || has(/^(-[arvl]+|--list|--show-current|--all|--remotes|--contains|--merged|--no-merged)$/) ? low("git branch") : medium("git branch changes branches");
    case "tag":
      if (has(/^(-[a-z]*[df]|--delete|--force)$/)) return critical("git tag deletes or overwrites");
      return bare || has(/^(-l|--list|-n\d*)$/) ? low("git tag") : medium("git tag");
    case "stash":
      if (first === "drop" || first === "clear") return critical(`git stash ${first} throws changes away`);
      return first === "list" || first === "show" ? low(`git stash ${first}`) : medium("git stash");
    case "remote":
      if (first === undefined || first === "get-url") return low("git remote");
      return first === "show" || first === "update" || first === "prune" ? high(`git remote ${first} uses the network`) : high(`git remote ${first} changes where pushes go`);
    case "config": {
      if (has(/^(--get.*|--list|-l)$/) || first === "get" || first === "list") return low("git config");
      return first !== undefined && SAFE_KEYS.test(first) && !has(/^(--global|--system)$/) ? medium("git config") : critical("git config may change what git runs");
    }
    case "worktree":
      return first === "list" ? low("git worktree list") : first === "add" ? medium("git worktree add") : critical(`git worktree ${first ?? ""}`);
    case "reflog":
      return first === undefined || first === "show" ? low("git reflog") : critical(`git reflog ${first}`);
    case "submodule":
      return first === undefined || first === "status" || first === "summary" ? low("git submodule") : high(`git submodule ${first}`);
    case "bisect":
      return first === "run" ? critical("git bisect runs a program") : medium("git bisect");
    case "rebase":
      return has(/^(-x|--exec|-i|--interactive)/) ? critical("git rebase runs what it is told") : high("git rebase rewrites history");
    case "am":
    case "apply":
      return has(/^--(unsafe-paths|directory)/) ? critical("git may write outside the workspace") : medium(`git ${name}`);
    case "archive":
    case "bundle":
    case "format-patch":
      return has(/^(-o|--remote|--output-directory)/) || name === "bundle" ? high(`git ${name} writes or reaches out`) : medium(`git ${name}`);
    case "init":
      return bare ? medium("git init") : high("git init in another place");
    default:
      break;
  }
  if (READS.has(name)) return name === "diff" && has(/^--no-index$/) ? medium("git diff of any files") : low(`git ${name}`);
  if (REACHES.has(name)) return high(`git ${name} uses the network`);
  if (WRITES.has(name)) return medium(`git ${name}`);
  // It may be an alias, and an alias may be anything.
  return high(`git ${name} is not known`);
}
