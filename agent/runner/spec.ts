/** Owns what a runner is started with: the schema of `runner.json`, which the daemon writes and the runner reads. */

import * as z from "zod";
import { restoreOrder } from "../../sdk/protocol/capsule.ts";
import { idOf } from "../../sdk/protocol/ids.ts";
import { env, slug } from "../../sdk/protocol/values.ts";

/** A path below HOME that leads nowhere else. */
export const belowHome = z
  .string()
  .min(1)
  .max(1_024)
  .refine((path) => !path.startsWith("/") && !path.includes("\0") && path.split("/").every((part) => part !== "" && part !== "." && part !== ".."), "expected a path below HOME, such as .config/agent");

/** How to start an agent: which adapter speaks to it, and its command. `binary` is looked up on PATH where it holds no slash. */
export const agentLaunch = z.object({
  name: slug,
  adapter: z.enum(["claude", "codex", "acp", "custom", "marco"]),
  binary: z.string().min(1).max(4_096),
  args: z.array(z.string().max(32_768)).max(256).default([]),
  env: env.default({}),
  /** Whether it goes on with an interrupted turn, where its adapter cannot know. */
  continues: z.boolean().optional(),
  /** Files and directories below HOME that hold its conversations and state, beside those that its adapter knows. */
  state_files: z.array(belowHome).max(64).optional(),
  /** What to tell a person when the binary is missing. */
  how_to_get: z.string().max(1_000).optional(),
});
export type AgentLaunch = z.infer<typeof agentLaunch>;

/**
 * `runner.json`, mode 0600, beside the journal, as the runner sees its paths (inside a container they differ from the host's).
 * The only secret in it is the runner's own token: no model key ever comes to a host.
 */
export const runnerSpec = z.object({
  runner_id: idOf("runner"),
  session_id: idOf("session"),
  epoch: z.number().int().min(1),
  run_token: z.string(),
  /** Base URL of the control plane: http(s)://host[:port] */
  server: z.url(),
  /** Unix socket of the daemon's relay to the control plane; used instead of dialling `server` where it is given. */
  socket: z.string().optional(),
  /** Null where no agent of that name is known here; then every task fails with `agent_unknown` and this text. */
  agent: agentLaunch.nullable(),
  agent_name: z.string(),
  agent_hint: z.string().optional(),
  model: z.string().nullable(),
  env,
  keep_raw: z.boolean(),
  /** The session's own model key was given and is gone: no task can begin. */
  needs_key: z.boolean(),
  /** The session's model calls go through the gateway. */
  gateway: z.boolean().optional(),
  /** Whose files they are; absent: no capsule is taken, and nothing restored. */
  workspace_id: idOf("workspace").optional(),
  /** Trees to restore before the first task. */
  restore: restoreOrder.nullable().optional(),
  /** Largest size of the workspace in MiB. */
  workspace_quota_mb: z.number().int().min(1).nullable().optional(),
  /** The workspace is this directory of the host's own, known by device and inode: in no capsule, and never restored. */
  directory: z.object({ path: z.string(), identity: z.string().regex(/^\d+:\d+$/) }).optional(),
  /** The session's files; the agent's working directory. */
  workspace: z.string(),
  /** HOME of the agent: its conversations live here and outlive the runner. */
  home: z.string(),
  /** Directory of the journal, writable by the runner alone. */
  state: z.string(),
});
export type RunnerSpec = z.infer<typeof runnerSpec>;
/**
 * Below the home, where no capsule looks: what a file was when it was last read, so that it need not be read again.
 * Only a shortcut: where a tree is restored exactly, it is not believed.
 */
export const OWN = ".marionette";
/** In the state directory while the capsule that it names holds the trees as they are: for the host, which may then let its copies go one day. */
export const MARKER = "capsule.json";
/** What a runner process may exit with; everything else is a crash and the daemon starts it again on its journal. */
export const EXIT = { stopped: 0, stale: 10, bad_spec: 11, wrong_directory: 12 } as const;
