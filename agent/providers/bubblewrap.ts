/** Owns the bubblewrap command line: which parts of the host a sandbox sees, and as whom it runs. */

import { existsSync, lstatSync, readlinkSync, realpathSync } from "node:fs";
import { dirname } from "node:path";
import type { HostMount, Owner, SandboxDirectories } from "./provider.ts";

/** Where the runner finds its directories inside. The state's path is short because a unix socket's path may have 107 bytes only. */
export const INSIDE = { workspace: "/workspace", home: "/home/agent", state: "/run/marionette" } as const;

const SYSTEM = ["/usr", "/opt"];
const ROOT_LINKS = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/** Not for agents to read, where the sandbox's user could. */
const HIDDEN_FILES = ["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/machine-id", "/etc/krb5.keytab"];
const HIDDEN_DIRECTORIES = ["/etc/ssl/private", "/etc/ssh", "/etc/sudoers.d", "/etc/NetworkManager", "/etc/wireguard", "/etc/docker", "/etc/kubernetes", "/etc/letsencrypt"];
/** Files outside /etc that name resolution reads through a link. */
const RESOLVER = "/etc/resolv.conf";

export interface BubblewrapRequest {
  directories: SandboxDirectories;
  /** Read-only, beside the system's own directories. */
  mounts: readonly HostMount[];
  /** Null: the daemon is an ordinary user and a user namespace makes room for it. */
  owner: Owner | null;
  /** Descriptor that bubblewrap writes its child's pid and the exit code to. */
  statusFd: number;
  command: readonly string[];
}

/** The mounts that the system's own directories do not already show; outer ones first, or they would cover the inner ones. */
export function shownMounts(mounts: readonly HostMount[]): HostMount[] {
  return mounts.filter(({ target }) => ![...SYSTEM, "/etc"].some((path) => target === path || target.startsWith(`${path}/`))).toSorted((a, b) => a.target.length - b.target.length);
}

/**
 * Arguments for `bwrap`. Own pid, ipc and uts namespaces, no capability, no new privileges (bubblewrap always sets that), an own session, a root that nothing can be
 * written to; the network is the host's. It does not die with the daemon. Started by root, the command runs as `owner`, a real other user; else in a user namespace.
 */
export function bubblewrapArguments(request: BubblewrapRequest): string[] {
  const args = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "sandbox", "--new-session", "--json-status-fd", String(request.statusFd), "--cap-drop", "ALL"];
  // setpriv needs both to become the other user, and loses them by doing so.
  if (request.owner) args.push("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID");
  else args.push("--unshare-user");
  const made = new Set<string>(["/"]);
  const parents = (path: string) => {
    const missing: string[] = [];
    for (let at = dirname(path); !made.has(at); at = dirname(at)) missing.unshift(at);
    for (const at of missing) {
      made.add(at);
      args.push("--perms", "0755", "--dir", at);
    }
  };
  const bind = (kind: "--bind" | "--ro-bind", source: string, target: string) => {
    parents(target);
    made.add(target);
    args.push(kind, source, target);
  };

  for (const path of SYSTEM) if (existsSync(path)) bind("--ro-bind", path, path);
  for (const path of ROOT_LINKS) {
    const entry = lstatSync(path, { throwIfNoEntry: false });
    if (entry?.isSymbolicLink()) args.push("--symlink", readlinkSync(path), path);
    else if (entry?.isDirectory()) bind("--ro-bind", path, path);
  }
  bind("--ro-bind", "/etc", "/etc");
  for (const path of HIDDEN_FILES) if (existsSync(path)) args.push("--ro-bind", "/dev/null", path);
  for (const path of HIDDEN_DIRECTORIES) if (existsSync(path)) args.push("--perms", "0000", "--tmpfs", path);
  const resolver = existsSync(RESOLVER) ? realpathSync(RESOLVER) : RESOLVER;
  if (!resolver.startsWith("/etc/")) bind("--ro-bind", resolver, resolver);

  parents("/var/tmp");
  args.push("--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/tmp", "--perms", "1777", "--tmpfs", "/var/tmp", "--perms", "1777", "--tmpfs", "/dev/shm");
  for (const path of ["/proc", "/dev", "/tmp"]) made.add(path);
  for (const { source, target } of shownMounts(request.mounts)) if (!made.has(target)) bind("--ro-bind", source, target);
  bind("--bind", request.directories.workspace, INSIDE.workspace);
  bind("--bind", request.directories.home, INSIDE.home);
  bind("--bind", request.directories.state, INSIDE.state);
  // Not the workspace: without capabilities root cannot enter a directory that is the owner's alone.
  args.push("--remount-ro", "/", "--chdir", "/", "--");
  if (request.owner) args.push("setpriv", "--reuid", String(request.owner.uid), "--regid", String(request.owner.gid), "--clear-groups", "--inh-caps=-all", "--");
  return [...args, ...request.command];
}
