/** Owns the parsing of a runner's messages: size first, then schemas; what comes in masses is checked by hand, exactly as its schema would. */

import * as z from "zod";
import {
  commandAck, events, Failure, hello, invalid, MAX_EVENT_CHARS, MAX_FRAME_ITEMS, MAX_LINK_BYTES, MAX_TEXT_CHARS, runnerItem, isId, runStatus, type EventsFrame, type RunnerFrame, type RunnerItem,
} from "../../sdk/protocol/index.ts";

type Fields = { [key: string]: unknown };
function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const STREAMS: ReadonlySet<unknown> = new Set(["stdout", "stderr", "system"]);
/** Deeper than any agent's record; what is deeper is left to the schema. */
const MAX_DEPTH = 32;

/** `YYYY-MM-DDTHH:MM:SS.mmmZ`, the form in which runners print times; other forms are left to the schema. */
function isTime(value: unknown): boolean {
  if (typeof value !== "string" || value.length !== 24) return false;
  for (let i = 0; i < 24; i++) {
    const code = value.charCodeAt(i);
    const mark = MARKS[i] as number;
    if (mark === 0 ? code < 48 || code > 57 : code !== mark) return false;
  }
  return true;
}
const MARKS = Array.from("0000-00-00T00:00:00.000Z", (char) => (char === "0" ? 0 : char.charCodeAt(0)));

/** JSON that the schema takes as it is: no infinite numbers, no key that an object would swallow. */
function isPlain(value: unknown, depth: number): boolean {
  if (value === null || typeof value === "string" || typeof value === "boolean") return true;
  if (typeof value === "number") return Number.isFinite(value);
  if (depth === 0 || typeof value !== "object") return false;
  if (Array.isArray(value)) return value.every((part) => isPlain(part, depth - 1));
  for (const key in value) if (key === "__proto__" || !isPlain((value as Fields)[key], depth - 1)) return false;
  return true;
}

/** Checks one field of an item's data; absent fields are checked by nobody. */
type Checks = Readonly<Record<string, (value: unknown) => boolean>>;
const isText = (value: unknown) => typeof value === "string" && value.length <= MAX_TEXT_CHARS;
const LOG: Checks = {
  stream: (value) => STREAMS.has(value),
  text: isText,
  truncated: (value) => Number.isSafeInteger(value) && (value as number) >= 1,
  encoding: (value) => value === "base64",
};
const DELTA: Checks = { text: isText };
/** Without `error`, which is left to the schema. */
const STATUS: Checks = {
  status: (value) => RUN_STATUSES.has(value),
  exit_code: (value) => value === null || Number.isSafeInteger(value),
  result: (value) => value === null || isText(value),
  conversation: (value) => value === null || (typeof value === "string" && value.length <= 500),
  pid: (value) => Number.isSafeInteger(value),
};
const RUN_STATUSES: ReadonlySet<unknown> = new Set(runStatus.options);
const HOT: Readonly<Record<string, { fields: Checks; needs: readonly string[] }>> = {
  "log": { fields: LOG, needs: ["stream", "text"] },
  "message.delta": { fields: DELTA, needs: ["text"] },
  "run.status": { fields: STATUS, needs: ["status"] },
};

/**
 * True only for a `log`, a `message.delta` or a plain `run.status` that the schema would pass unchanged; false decides nothing. `value` comes
 * from JSON.
 */
export function isHotItem(value: unknown): value is RunnerItem {
  if (!isFields(value)) return false;
  const { type, data } = value;
  if (typeof type !== "string" || !Object.hasOwn(HOT, type) || !isFields(data) || !isTime(value["at"])) return false;
  for (const key in value) if (key !== "at" && key !== "type" && key !== "data" && (key !== "raw" || !isPlain(value[key], MAX_DEPTH))) return false;
  const hot = HOT[type];
  if (!hot?.needs.every((key) => Object.hasOwn(data, key))) return false;
  for (const key in data) if (!Object.hasOwn(hot.fields, key) || !hot.fields[key]?.(data[key])) return false;
  return true;
}

/** True only for the fields around an `events` frame's items that the schema would pass unchanged. */
function isHotHead(value: Fields): value is Fields & Omit<EventsFrame, "items"> {
  for (const key in value) if (key !== "type" && key !== "from" && key !== "task_id" && key !== "run_id") return false;
  const { from, task_id, run_id } = value;
  if (!Number.isSafeInteger(from) || (from as number) < 1) return false;
  return (task_id === null || (typeof task_id === "string" && isId("task", task_id))) && (run_id === null || (typeof run_id === "string" && isId("run", run_id)));
}

const envelope = events.omit({ items: true });

/** The frames of one message, all of them valid; throws a `Failure` that names the field. `many`: the message may be an array. */
export function parseMessage(message: string | ArrayBuffer, many: (frames: readonly unknown[]) => boolean): RunnerFrame[] {
  if (typeof message !== "string") throw new Failure("bad_request", "frame: expected text, got bytes", { details: { frame: "expected text" } });
  if (message.length > MAX_LINK_BYTES) throw new Failure("payload_too_large", `frame: larger than ${MAX_LINK_BYTES} bytes`, { details: { frame: `at most ${MAX_LINK_BYTES} bytes` } });
  let value: unknown;
  try {
    value = JSON.parse(message);
  } catch {
    throw new Failure("bad_request", "frame: not JSON", { details: { frame: "not JSON" } });
  }
  const large = message.length > MAX_EVENT_CHARS;
  try {
    if (!Array.isArray(value)) return [parseFrame(value, large)];
    if (value.length === 0 || value.length > MAX_FRAME_ITEMS || !many(value)) throw new Failure("bad_request", "frame: expected one frame a message", { details: { frame: "expected one frame a message" } });
    return value.map((frame) => parseFrame(frame, large));
  } catch (error) {
    // Nested deeper than the schema's own recursion can follow.
    if (error instanceof RangeError) throw new Failure("bad_request", "frame: nested too deeply", { details: { frame: "nested too deeply" } });
    throw error;
  }
}

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw invalid(parsed.error, "frame");
  return parsed.data;
}

const typed = z.object({ type: z.enum(["hello", "events", "command.ack"]) });

function parseFrame(value: unknown, large: boolean): RunnerFrame {
  const type = isFields(value) && value["type"] === "events" ? "events" : check(typed, value).type;
  if (type === "hello") return check(hello, value);
  if (type === "command.ack") return check(commandAck, value);
  const { items, ...rest } = value as Fields;
  const head = isHotHead(rest) ? rest : check(envelope, rest);
  if (!Array.isArray(items) || items.length === 0 || items.length > MAX_FRAME_ITEMS) throw new Failure("bad_request", `frame: items: expected 1 to ${MAX_FRAME_ITEMS}`, { details: { items: `expected 1 to ${MAX_FRAME_ITEMS}` } });
  return { ...head, items: items.map((item: unknown, i) => parseItem(item, i, large)) };
}

function parseItem(value: unknown, i: number, large: boolean): RunnerItem {
  if (large && JSON.stringify(value).length > MAX_EVENT_CHARS) throw new Failure("payload_too_large", `frame: items.${i}: larger than ${MAX_EVENT_CHARS} characters`, { details: { [`items.${i}`]: `at most ${MAX_EVENT_CHARS} characters` } });
  if (isHotItem(value)) return value;
  const parsed = runnerItem.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalid(new z.ZodError(parsed.error.issues.map((issue) => ({ ...issue, path: ["items", i, ...issue.path] }))), "frame");
}
