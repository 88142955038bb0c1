/** Owns the daemon's log: one JSON line an event on stderr, or one readable line for a person at a terminal. */

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, unknown>>;

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

type Say = (event: string, fields?: LogFields) => void;

export interface Logger {
  readonly debug: Say;
  readonly info: Say;
  readonly warn: Say;
  readonly error: Say;
}

export interface LogOptions {
  level: LogLevel;
  pretty: boolean;
  write: (line: string) => void;
  now?: () => Date;
}

/** The level of that name; `info` where there is none. */
export function logLevel(name: string | undefined): LogLevel {
  return LEVELS.find((level) => level === name) ?? "info";
}

/** A logger over `write`, which gets whole lines. */
export function logger(options: LogOptions): Logger {
  const now = options.now ?? (() => new Date());
  const from = LEVELS.indexOf(options.level);
  const at = (level: LogLevel) => (event: string, fields: LogFields = {}) => {
    if (LEVELS.indexOf(level) < from) return;
    const time = now().toISOString();
    options.write(options.pretty ? readable(time, level, event, fields) : `${JSON.stringify({ time, level, event, ...fields })}\n`);
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function readable(time: string, level: LogLevel, event: string, fields: LogFields): string {
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([key, value]) => `${key}=${typeof value === "string" && !/[\s"=]/.test(value) ? value : JSON.stringify(value)}`);
  return [time.slice(11, 23), level === "info" ? "" : level.toUpperCase(), event, ...rest].filter(Boolean).join(" ") + "\n";
}
