/** Owns refusing options that are not valid, with the names of the fields. */

import type * as z from "zod";

/** The value as its schema reads it. Throws a TypeError that says which fields of `what` are wrong, and how. */
export function checked<S extends z.ZodType>(schema: S, value: unknown, what: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new TypeError(`\`${what}\` is not valid: ${parsed.error.issues.map((issue) => `${[...issue.path.map(String), ...(issue.code === "unrecognized_keys" ? issue.keys : [])].join(".")}: ${issue.message}`).join("; ")}`);
}
