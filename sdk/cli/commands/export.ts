/** Owns `mctl sessions export`: a session's whole history into a file, checked on the way. */

import { createWriteStream } from "node:fs";
import { once } from "node:events";
import { resolve } from "node:path";
import { ApiError } from "../../core/errors.ts";
import { HistoryCheck, type HistoryReport } from "../../core/verify.ts";
import { defineCommand } from "../command.ts";
import type { Context } from "../context.ts";
import { EXIT, UserError } from "../io.ts";
import { flag, text } from "../option.ts";
import { Progress } from "../output/progress.ts";
import { size } from "../output/table.ts";

/** Where blocks go. */
interface Sink {
  write(block: Uint8Array): Promise<void>;
  end(): Promise<void>;
}

export const exportCommand = defineCommand({
  name: "sessions export",
  summary: "Write a session's whole history as JSON lines",
  description:
    "The text consists of blocks: a header line with the SHA-256 of the block before, then one event a line. With --verify the chain is checked as it comes, and its end is compared with " +
    "what the session's object and the database remember, which whoever can write the object store cannot change: a changed byte, a missing block or a cut end is named, and the exit code is 1. " +
    "Of a session that has not ended, full blocks are remembered by its object from their first export on; what follows them is chained, but noted nowhere yet.",
  args: [{ name: "session", summary: "id of the session (sess_…)" }],
  options: {
    verify: flag("check that nothing was cut or changed; without --file only the verdict is printed"),
    file: text("PATH", "write to this file instead of stdout"),
  },
  examples: [
    ["sessions export sess_… --file history.jsonl", "everything that happened"],
    ["sessions export sess_… --verify", "does the history hold?"],
  ],
  async run(context, { session: id = "" }, { verify, file }) {
    const { history } = context.client.sessions;
    const known = await history.get(id);
    const check = new HistoryCheck(id, known);
    const sink = file === undefined ? (verify ? null : toStdout(context)) : await toFile(resolve(context.io.cwd, file));
    const bar = new Progress(context.io, context.out.quiet, "events", known.archive?.events ?? known.last_seq);
    let bytes = 0;
    try {
      for await (const block of history.blocks(id)) {
        await check.push(block);
        bytes += block.length;
        await sink?.write(block);
        bar.at(check.head.events, size(bytes));
      }
    } catch (error) {
      const at = error instanceof ApiError ? error.details?.["block"] : undefined;
      if (!verify || !(error instanceof ApiError) || typeof at !== "number") throw error;
      check.unreadable(at, error.message);
    } finally {
      bar.end();
      await sink?.end();
    }
    const report = check.end(await history.get(id));
    if (verify) {
      if (sink === null || file !== undefined) context.out.one(report, () => verdict(report));
      return report.whole ? EXIT.ok : EXIT.user;
    }
    if (file !== undefined) context.out.note(`Wrote ${report.events} events (${size(bytes)}) to ${file}.`);
    for (const { message } of report.problems) context.out.note(`Not whole: ${message}.`);
    return report.whole ? EXIT.ok : EXIT.user;
  },
});

function toStdout(context: Context): Sink {
  return {
    async write(block) {
      context.out.write(block);
      await context.out.drained();
    },
    end: async () => {},
  };
}

async function toFile(path: string): Promise<Sink> {
  const stream = createWriteStream(path);
  try {
    await once(stream, "open");
  } catch (error) {
    throw new UserError(`Cannot write ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return {
    async write(block) {
      if (!stream.write(block)) await once(stream, "drain");
    },
    async end() {
      stream.end();
      if (!stream.closed) await once(stream, "close");
    },
  };
}

const WHO = { session: "the session's object", database: "the database" } as const;

function verdict({ whole, events, blocks, head, against, unpinned, problems }: HistoryReport): string[] {
  if (!whole) return [`NOT WHOLE: ${problems.length} problem${problems.length === 1 ? "" : "s"} in ${events} events.`, ...problems.map(({ kind, message }) => `  ${kind}: ${message}`)];
  const by = against.length > 0 ? `; the end is the one that ${against.map((who) => WHO[who]).join(" and ")} remember${against.length > 1 ? "" : "s"}` : "";
  return [
    `Whole and unchanged: ${events} events in ${blocks} block${blocks === 1 ? "" : "s"}${by}.`,
    `Head ${head}`,
    ...(unpinned > 0 ? [`The last ${unpinned} events follow in the chain, but nothing remembers their hash yet: the session goes on.`] : []),
  ];
}
