import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { endLeftovers, living, noteOf, startOf } from "./leftovers.ts";

describe("what an earlier start left behind", () => {
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
  });
  /** A process that has set itself up; `stubborn` ignores a polite request. */
  async function process(stubborn = false): Promise<{ pid: number; exited: Promise<unknown[]> }> {
    const child = spawn("sh", ["-c", `${stubborn ? "trap '' TERM; " : ""}echo up; while :; do sleep 0.1; done`], { stdio: ["ignore", "pipe", "ignore"] });
    children.push(child);
    await once(child.stdout, "data");
    return { pid: child.pid ?? 0, exited: once(child, "exit") };
  }

  it("is asked to end, and killed where it does not", async () => {
    const [polite, stubborn] = [await process(), await process(true)];
    const processes = [...(await noteOf("polite", polite.pid)), ...(await noteOf("stubborn", stubborn.pid))];
    expect(await endLeftovers({ url: "", processes }, 300)).toEqual(["polite", "stubborn"]);
    expect((await polite.exited)[1]).toBe("SIGTERM");
    expect((await stubborn.exited)[1]).toBe("SIGKILL");
  });

  it("is left alone where its pid belongs to another process by now", async () => {
    const { pid } = await process();
    const running = { url: "", processes: [{ what: "host", pid, started: "Thu Jan  1 00:00:00 1970" }] };
    expect(await living(running, "host")).toBeNull();
    expect(await endLeftovers(running)).toEqual([]);
    expect(await startOf(pid)).not.toBeNull();
  });

  it("is nothing where nothing runs", async () => {
    expect(await noteOf("gone", 2 ** 22 - 1)).toEqual([]);
    expect(await noteOf("never", null)).toEqual([]);
  });
});
