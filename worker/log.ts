/** Owns the worker's log: one JSON line an event, the same keys everywhere, nothing secret. */

const LEVELS = ["debug", "info", "warn", "error"] as const;
type Level = (typeof LEVELS)[number];

export interface Fields {
  request_id?: string | undefined;
  tenant?: string | undefined;
  session?: string | undefined;
  task?: string | undefined;
  [key: string]: unknown;
}

export type Logger = Record<Level, (event: string, fields?: Fields) => void>;

/** What of an error is worth a line: never its properties, which may hold a request. */
export function describe(error: unknown): { error: string; stack?: string | undefined; cause?: string | undefined } {
  if (!(error instanceof Error)) return { error: String(error).slice(0, 1_000) };
  return { error: `${error.name}: ${error.message}`.slice(0, 1_000), stack: error.stack?.slice(0, 4_000), ...(error.cause instanceof Error && { cause: error.cause.message.slice(0, 1_000) }) };
}

/** A logger that prints `level` (by default `info`) and above. */
export function logger(level: string | undefined): Logger {
  const least = Math.max(0, LEVELS.indexOf((level ?? "info") as Level));
  const at = (own: Level) => (event: string, fields: Fields = {}) => {
    if (LEVELS.indexOf(own) >= least) console[own](JSON.stringify({ time: new Date().toISOString(), level: own, event, ...fields }));
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
