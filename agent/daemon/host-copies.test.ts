import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newChildId, newId } from "../../sdk/protocol/index.ts";
import { expired, HostCopies, type HostCopy } from "./host-copies.ts";
import { Layout } from "./layout.ts";
import { logger } from "./log.ts";

const T0 = Date.UTC(2026, 10, 21, 12);
const HOUR = 3_600_000;
const session = () => newId("session", T0);
const copy = (more: Partial<HostCopy> = {}): HostCopy => {
  const session_id = session();
  return { session_id, workspace_id: newId("workspace", T0), ended_at: new Date(T0).toISOString(), capsule_id: newChildId("capsule", session_id, T0), ...more };
};

describe("which copies may go", () => {
  const sessions = (copies: HostCopy[], hours: number, used: HostCopy[] = []) => expired(copies, T0 + hours * HOUR, 2 * 3_600, (each) => used.includes(each)).sessions;
  it("is those of ended sessions that are in a capsule, after the retention", () => {
    const [over, alive, nowhere] = [copy(), copy({ ended_at: null }), copy({ capsule_id: null })];
    const all = [over, alive, nowhere];
    expect(sessions(all, 1.9)).toEqual([]);
    expect(sessions(all, 2)).toEqual([over]);
    expect(sessions(all, 2, [over])).toEqual([]);
  });
  it("is never a workspace that another session still has", () => {
    const first = copy();
    const second = copy({ workspace_id: first.workspace_id, ended_at: null });
    expect(expired([first, second], T0 + 3 * HOUR, 60, () => false)).toEqual({ sessions: [first], workspaces: [] });
    expect(expired([first, { ...second, ended_at: first.ended_at }], T0 + 3 * HOUR, 60, () => false).workspaces).toEqual([first.workspace_id]);
  });
});

describe("a host's copies", () => {
  let layout: Layout;
  let lines: string[];
  beforeEach(async () => {
    layout = new Layout(await mkdtemp(join(tmpdir(), "mrn-copies-")));
    lines = [];
    await layout.make();
  });
  afterEach(() => rm(layout.root, { recursive: true, force: true, maxRetries: 10 }));

  it("go with a clear line in the log, and stay where no capsule holds them", async () => {
    const copies = new HostCopies({ layout, retentionSeconds: 60, uses: () => false, log: logger({ level: "debug", pretty: false, write: (line) => lines.push(line) }) });
    const [safe, unsafe] = [copy(), copy()];
    for (const { session_id, workspace_id } of [safe, unsafe]) {
      await mkdir(join(layout.session(session_id), "home"), { recursive: true });
      await mkdir(layout.workspace(workspace_id), { recursive: true });
      await copies.begin(session_id, workspace_id);
      await copies.ended(session_id, new Date(T0));
    }
    await copies.settled(safe.session_id, safe.capsule_id ?? "");
    await copies.prune(T0 + HOUR);
    expect([await readdir(layout.sessions), await readdir(join(layout.root, "workspaces"))]).toEqual([[unsafe.session_id], [unsafe.workspace_id]]);
    expect(lines.find((line) => line.includes("files.pruned"))).toContain(safe.session_id);
    expect(lines.find((line) => line.includes("files.kept"))).toContain(unsafe.session_id);
  });

  it("are not discarded from under a runner that starts while they are looked for", async () => {
    let used = false;
    const copies = new HostCopies({ layout, retentionSeconds: 60, uses: () => used, log: logger({ level: "error", pretty: false, write: () => {} }) });
    const { session_id, workspace_id } = copy();
    await mkdir(join(layout.session(session_id), "home"), { recursive: true });
    await mkdir(layout.workspace(workspace_id), { recursive: true });
    await copies.begin(session_id, workspace_id);
    const discarding = copies.discard(session_id, workspace_id);
    used = true;
    await expect(discarding).rejects.toThrow("it must end first");
    expect([await readdir(layout.sessions), await readdir(layout.workspaces)]).toEqual([[session_id], [workspace_id]]);
    used = false;
    await copies.discard(session_id, workspace_id);
    expect([await readdir(layout.sessions), await readdir(layout.workspaces)]).toEqual([[], []]);
    // What a daemon that died in the middle of it has left.
    await mkdir(join(layout.sessions, `${session_id}.gone-1`));
    await copies.prune(T0);
    expect(await readdir(layout.sessions)).toEqual([]);
  });

  it("are nobody's to remove once a runner of the session has started again", async () => {
    const copies = new HostCopies({ layout, retentionSeconds: 0, uses: () => false, log: logger({ level: "error", pretty: false, write: () => {} }) });
    const { session_id, workspace_id, capsule_id } = copy();
    await mkdir(layout.session(session_id), { recursive: true });
    await copies.begin(session_id, workspace_id);
    await copies.settled(session_id, capsule_id ?? "");
    await copies.ended(session_id, new Date(T0));
    await copies.begin(session_id, workspace_id);
    await copies.prune(T0 + HOUR);
    expect(await readdir(layout.sessions)).toEqual([session_id]);
  });
});
