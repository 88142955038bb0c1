/** Owns what list commands share: `--limit`, `--all`, and printing what they bring. */

import type { Page, Pages } from "../../core/page.ts";
import type { Context } from "../context.ts";
import { flag, whole } from "../option.ts";
import type { Column } from "../output/table.ts";
import { oneLine } from "../output/terminal.ts";

export const listOptions = {
  limit: whole("N", "at most so many (default 50)", { min: 1 }),
  all: flag("all of them, page by page"),
};

/** Items a page at most. */
const MAX_PAGE = 200;

/** Prints a list; says on stderr where there is more than was asked for. */
export async function printList<T extends { id: string } | { path: string }>(
  context: Context,
  chosen: { limit: number | undefined; all: boolean },
  load: (limit: number) => Pages<T>,
  columns: readonly Column<T>[],
  noun: string,
): Promise<void> {
  const wanted = chosen.all ? Infinity : (chosen.limit ?? 50);
  const rows: T[] = [];
  let page: Page<T> | null = await load(Math.min(wanted, MAX_PAGE));
  const { total } = page;
  while (page && rows.length < wanted) {
    rows.push(...page.items.slice(0, wanted - rows.length));
    page = rows.length < wanted ? await page.next() : null;
  }
  context.out.many(rows, columns, (row) => ("id" in row ? row.id : oneLine(row.path)));
  if (context.out.structured) return;
  if (rows.length === 0) context.out.note(`No ${noun}.`);
  else if (total > rows.length) context.out.note(`${rows.length} of ${total} ${noun}; --all shows the rest.`);
}
