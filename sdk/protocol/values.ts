/** Owns the small value schemas that several resources share: times, labels, environment, names, JSON. */

import * as z from "zod";
import { MAX_ENV_VARS, MAX_LABELS } from "./limits.ts";

/** RFC 3339 in UTC with milliseconds, as `Date.prototype.toISOString` prints it. */
export const timestamp = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/, "expected an RFC 3339 time in UTC");

/** Text that people give things and that ends up in lists, terminals and databases: well-formed, on one line. */
export const oneLine = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^[^\u0000-\u001f\u007f-\u009f]*$/, "must not hold control characters")
    .refine((value) => value.isWellFormed(), "must be well-formed Unicode");

export const name = oneLine(120).min(1);

/** A registered word: an agent, a provider, a pool, a label's key. */
export const slug = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, "expected letters, digits, '.', '_' or '-', at most 63");

/** The name of a label. */
export const labelName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/, "expected letters, digits, '.', '_', '/' or '-', at most 63");

/** For organisation only; never a boundary of security. */
export const labels = z
  .record(labelName, oneLine(255))
  .refine((value) => Object.keys(value).length <= MAX_LABELS, `at most ${MAX_LABELS} labels`);

export const env = z
  .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/), z.string().max(32_768).regex(/^[^\0]*$/, "must not hold NUL"))
  .refine((value) => Object.keys(value).length <= MAX_ENV_VARS, `at most ${MAX_ENV_VARS} variables`);

/** Any JSON value; its size is capped by the body it stands in. */
export const json: z.ZodType<Json> = z.json();
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
