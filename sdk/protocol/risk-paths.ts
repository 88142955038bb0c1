/** Owns what a path means for risk: inside the workspace, beside it, or where a file changes what runs later. Pure text: links are not followed. */

import type { Risk } from "./policy.ts";

/** Where a tool call happens. */
export interface Place {
  workspace: string;
  home: string;
  /** Directories that no call should touch, such as the runner's own. */
  forbidden?: readonly string[];
}

export interface Judgement {
  risk: Risk;
  reason: string;
}

const ORDER: readonly Risk[] = ["low", "medium", "high", "critical"];
/** The higher of two risks. */
export function worse(a: Risk, b: Risk): Risk {
  return ORDER.indexOf(a) >= ORDER.indexOf(b) ? a : b;
}

/** Directories and files that are run or obeyed later without anyone asking. */
const OBEYED = /(^|\/)(\.git|\.husky|\.ssh|\.gnupg|\.aws|\.kube|\.claude|\.codex|\.vscode|\.config|\.local|\.mcp\.json|\.envrc|\.npmrc|\.yarnrc|\.netrc|\.pypirc|\.gitconfig|\.inputrc|\.vimrc|\.exrc|\.tmux\.conf|\.profile|\.(?:bash|zsh|k?sh)[\w]*|\.zlogin|\.zlogout|\.login|\.xinitrc|\.xprofile|authorized_keys|crontab)(\/|$)/i;
const SECRET = /(^|\/)(\.ssh|\.gnupg|\.aws|\.kube|\.azure|\.netrc|\.pypirc|\.npmrc|\.git-credentials|\.docker\/config\.json|\.config\/gcloud|\.config\/gh|\.claude\/\.credentials\.json|\.codex\/auth\.json|\.env(\.[\w.-]+)?|id_(rsa|dsa|ecdsa|ed25519)|[^/]*\.(pem|key|p12|pfx|keystore))(\/|$)|^\/etc\/(shadow|gshadow|sudoers|ssl\/private)|^\/proc\/[^/]+\/(environ|mem|maps|fd|root|cwd)/i;
const SAMPLES = /\.env\.(example|sample|template|dist)$/i;
const HARMLESS_DEVICE = /^\/dev\/(null|zero|stdout|stderr|stdin|tty|fd\/\d+|u?random)$/;
const TEMPORARY = /^\/(tmp|var\/tmp|private\/tmp)\//;

/** An absolute path without `.`, `..` and doubled slashes; relative ones begin at `from`. */
export function resolvePath(path: string, from: string, home: string): string {
  const whole = path === "~" || path.startsWith("~/") ? home + path.slice(1) : path.startsWith("/") ? path : `${from}/${path}`;
  const parts: string[] = [];
  for (const part of whole.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/** Whether an absolute path lies in a directory, or is it. */
export function isInside(path: string, directory: string): boolean {
  const root = resolvePath(directory, "/", "/");
  return path === root || path.startsWith(root === "/" ? "/" : `${root}/`);
}

/** The path as rules see it: relative inside the workspace, else absolute. */
export function subjectPath(path: string, place: Place): string {
  const absolute = resolvePath(path, place.workspace, place.home);
  if (!isInside(absolute, place.workspace)) return absolute;
  return absolute.slice(resolvePath(place.workspace, "/", "/").length + 1) || ".";
}

/** Risk of writing to a path; `from` is null where the directory is not known. */
export function judgeWrite(path: string, place: Place, from: string | null = place.workspace): Judgement {
  if (/^~[^/]/.test(path)) return { risk: "critical", reason: `writes to another user's home: ${path}` };
  if (HARMLESS_DEVICE.test(path)) return { risk: "low", reason: `writes to ${path}` };
  if (/^\/dev\/(tcp|udp)\//.test(path)) return { risk: "critical", reason: "opens a network connection from the shell" };
  const relative = !path.startsWith("/") && !path.startsWith("~");
  if (from === null && relative) return { risk: OBEYED.test(path) ? "critical" : "high", reason: `writes to ${path} in a directory that is not known` };
  const absolute = resolvePath(path, from ?? "/", place.home);
  if (place.forbidden?.some((directory) => isInside(absolute, directory))) return { risk: "critical", reason: "writes to the runner's own files" };
  const inside = isInside(absolute, place.workspace);
  // The workspace may itself lie below a directory of such a name.
  const named = inside ? absolute.slice(resolvePath(place.workspace, "/", "/").length) : absolute;
  if (OBEYED.test(named)) return { risk: "critical", reason: `changes what runs later: ${path}` };
  if (inside) return { risk: "medium", reason: `writes ${subjectPath(absolute, place)}` };
  if (TEMPORARY.test(absolute)) return { risk: "high", reason: `writes to the temporary directory: ${path}` };
  return { risk: "critical", reason: `writes outside the workspace: ${path}` };
}

/** Risk of reading a path. */
export function judgeRead(path: string, place: Place, from: string | null = place.workspace): Judgement {
  if (/^\/dev\/(tcp|udp)\//.test(path)) return { risk: "critical", reason: "opens a network connection from the shell" };
  const absolute = resolvePath(path, from ?? "/", place.home);
  if (place.forbidden?.some((directory) => isInside(absolute, directory))) return { risk: "critical", reason: "reads the runner's own files" };
  const named = isInside(absolute, place.workspace) ? absolute.slice(resolvePath(place.workspace, "/", "/").length) : absolute;
  if (SECRET.test(named) && !SAMPLES.test(named)) return { risk: "high", reason: `reads what may be a secret: ${path}` };
  return { risk: "low", reason: `reads ${path}` };
}
