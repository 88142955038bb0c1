/** Owns which tools an agent has: those of its workspace, of the web where there is an engine, and those that it is given. */

import type { AgentWorkspace } from "../sandbox/contracts.ts";
import type { SearchProvider } from "../search/provider.ts";
import type { Tool } from "../tool.ts";
import { execTools } from "./exec.ts";
import { fileTools } from "./files.ts";
import { findTools } from "./find.ts";
import { memoryTools } from "./memory.ts";
import { webTools, type WebOptions } from "./web.ts";

export interface CreateToolsOptions {
  workspace: AgentWorkspace;
  /** Without one, `web_search` and `fetch_url` are not among the tools. */
  search?: SearchProvider | undefined;
  web?: WebOptions | undefined;
  /** Such as those of `fromMcpServer`; one of a name that is taken is refused. */
  extra?: readonly Tool[] | undefined;
}

/** The tools, in a fixed order, so that the model's prompt begins alike each time. Throws a TypeError where two have one name. */
export function createTools({ workspace, search, web, extra = [] }: CreateToolsOptions): Tool[] {
  const { exec } = workspace.capabilities;
  const tools = [...(exec ? execTools(workspace) : []), ...fileTools(workspace), ...(exec ? findTools(workspace) : []), ...memoryTools(workspace), ...(search === undefined ? [] : webTools(search, web)), ...extra];
  const names = new Set<string>();
  for (const { name } of tools) {
    if (names.has(name)) throw new TypeError(`two tools are called '${name}'`);
    names.add(name);
  }
  return tools;
}
