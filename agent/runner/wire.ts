/** Owns reading what the session's object sends: capped, parsed, refused by name; settings that do not parse close the gate, not the link. */

import { objectFrame, type ObjectFrame, type RunnerSettings } from "../../sdk/protocol/runner-link.ts";
import { WireError } from "./wire-error.ts";

/** The object's frames, with settings null where they were sent and do not parse. */
export type Received =
  | Exclude<ObjectFrame, { type: "welcome" }>
  | (Omit<Extract<ObjectFrame, { type: "welcome" }>, "settings"> & { settings: RunnerSettings | null })
  | { type: "settings.broken"; frame: Extract<ObjectFrame, { type: "command" }>; why: string };

const SAFE: RunnerSettings = { edit_mode: "off", rules: [] };

/** The frames of one message: one, or an array of them. Throws a `WireError` for anything else. */
export function readMessage(text: string): Received[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new WireError("the message is not JSON");
  }
  const frames = Array.isArray(value) ? value : [value];
  if (frames.length === 0) throw new WireError("the message holds no frame");
  return frames.map(readFrame);
}

function readFrame(value: unknown): Received {
  const parsed = objectFrame.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const why = `${issue?.path.join(".") || "frame"}: ${issue?.message ?? "not valid"}`;
  if (isObject(value) && parsed.error.issues.every(({ path }) => path[0] === "settings" || (path[0] === "body" && path[1] === "settings"))) {
    const isCommand = value["type"] === "command" && isObject(value["body"]);
    const again = objectFrame.safeParse(isCommand ? { ...value, body: { ...(value["body"] as object), settings: SAFE } } : { ...value, settings: SAFE });
    if (again.success && again.data.type === "welcome") return { ...again.data, settings: null };
    if (again.success && again.data.type === "command") return { type: "settings.broken", frame: again.data, why };
  }
  throw new WireError(why.slice(0, 100));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
