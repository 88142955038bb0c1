/** Owns a scripted model server in a process of its own, so that its work is not counted as ours. */

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { startModelServer } from "../support/model-server/index.ts";

export interface ModelProcess {
  anthropic: string;
  openai: string;
  close(): void;
}

export async function forkModel(): Promise<ModelProcess> {
  const child: ChildProcess = fork(import.meta.filename, ["serve"], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const [told] = (await once(child, "message")) as [{ anthropic: string; openai: string }];
  return { ...told, close: () => void child.kill() };
}

if (process.argv[2] === "serve" && process.send) {
  const { anthropic, openai } = await startModelServer();
  process.send({ anthropic, openai });
  process.once("disconnect", () => process.exit(0));
}
