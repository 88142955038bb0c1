/** Owns the reading of cron expressions: whether one makes a schedule, and the due times that it names in a time zone. Pure: the clock is given. */

import { Cron } from "croner";

/**
 * Where clocks change: a time of day that is skipped is due at the end of the gap, one that comes twice is due at its first; what repeats by
 * wildcard or step (`*`, `0-59/15`) follows the real time through both. So does Vixie cron.
 */
function parse(cron: string, timezone: string): Cron {
  return new Cron(cron, { timezone, mode: "5-part", fixedTimeRule: "no-wildcard" });
}

/** Why these make no schedule, by field and in words; null where they do. */
export function cronProblem(cron: string, timezone: string, now: number): { field: "cron" | "timezone"; message: string } | null {
  try {
    new Intl.DateTimeFormat("en", { timeZone: timezone }).resolvedOptions();
  } catch {
    return { field: "timezone", message: `no time zone is called '${timezone}'; give an IANA name, such as Europe/Berlin or UTC` };
  }
  const fields = cron.trim().split(/\s+/);
  if (fields.length > 5) return { field: "cron", message: `'${cron}' has ${fields.length} fields, and a schedule has five: seconds and years are not taken, because it fires once a minute at most` };
  if (fields.length < 5 && !cron.trim().startsWith("@")) return { field: "cron", message: `'${cron}' has ${fields.length} of five fields: minute, hour, day of month, month, weekday` };
  try {
    if (parse(cron, timezone).nextRun(new Date(now)) === null) return { field: "cron", message: `'${cron}' never fires: no such day is in any calendar` };
  } catch (error) {
    return { field: "cron", message: `'${cron}' cannot be read: ${wordsOf(error)}` };
  }
  return null;
}

/** The library's own words, without its name. */
function wordsOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/^(?:CronPattern|CronDate|Cron): */, "").replace(/\.$/, "");
}

/** The first due time after `after`, both in epoch milliseconds; null where there is none. */
export function nextDue({ cron, timezone }: { cron: string; timezone: string }, after: number): number | null {
  return parse(cron, timezone).nextRun(new Date(after))?.getTime() ?? null;
}

/** How many due times lie after `from` and not after `to`; counting ends at `limit`. */
export function dueBetween({ cron, timezone }: { cron: string; timezone: string }, from: number, to: number, limit: number): number {
  const parsed = parse(cron, timezone);
  let count = 0;
  for (let at = parsed.nextRun(new Date(from)); at !== null && at.getTime() <= to && count < limit; at = parsed.nextRun(at)) count++;
  return count;
}
