/** Owns the sandbox's user where the daemon is root: the same in every provider, so that a workspace may move between them. */

import type { Owner } from "./provider.ts";

export const SANDBOX_OWNER: Owner = { uid: 1000, gid: 1000 };
