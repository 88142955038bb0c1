/** Owns what a tool is: a name, a schema that its input must fit, and what it answers the model. */

import * as z from "zod";

/** A JSON Schema object as it is told to the model; its root is always of type `object`. */
export type JsonSchema = Readonly<Record<string, unknown>>;

export type ToolPart =
  | { type: "text"; text: string }
  /** `data` is base64 without a prefix; `mediaType` such as `image/png`. */
  | { type: "image"; data: string; mediaType: string };

/** A file that a call has changed; `path` is relative to the workspace where it lies in it, absolute elsewhere. */
export interface FileChange {
  path: string;
  change: "created" | "modified" | "deleted";
  /** Unified, or lines with `+` and `-`; bounded by the tool. */
  diff?: string;
}

export interface ToolResult {
  /** What the model reads. Tools bound it themselves; the loop cuts whatever is longer than `MAX_RESULT_CHARS`. */
  content: string | readonly ToolPart[];
  /** The call failed in a way that the model can read about and act on. */
  isError?: boolean;
  changes?: readonly FileChange[];
}

export interface ToolContext {
  /** The model's id of this call. */
  readonly callId: string;
  /** Aborts when the turn is canceled or out of time; a tool then ends soon, whatever it answers. */
  readonly signal: AbortSignal;
  /** Shows output while the call runs, piece by piece; becomes `tool-progress` events and is not part of the result. Never throws. */
  readonly progress: (text: string) => void;
}

/** Input that was checked against the schema, or why it does not fit: one line a field. */
export type ParsedInput = { ok: true; value: unknown } | { ok: false; issues: string[] };

/**
 * What the model may call. Build one with `toolFromZod` or `toolFromJsonSchema`.
 * `execute` may throw: the model is then told the error's message as a failed result, and the turn goes on.
 */
export interface Tool {
  /** 1 to 64 of `A-Za-z0-9_-`. */
  readonly name: string;
  /** For the model: what it does, when to use it, what it answers. */
  readonly description: string;
  readonly inputSchema: JsonSchema;
  /** Asking again and getting the same answer is how it is used, such as waiting for a job: not taken for going in circles. */
  readonly polling?: boolean;
  parse(input: unknown): ParsedInput;
  /** Gets the value of `parse`. A string is a result of one text. */
  execute(input: unknown, context: ToolContext): Promise<ToolResult | string>;
}

const NAME = /^[A-Za-z0-9_-]{1,64}$/;
/** A model that gets ten fields wrong learns no more from the eleventh. */
const MAX_ISSUES = 10;

/** A tool whose input is a zod object; the model sees its JSON Schema. Throws a TypeError where the name is not allowed. */
export function toolFromZod<S extends z.ZodObject>(definition: {
  name: string;
  description: string;
  input: S;
  polling?: boolean;
  execute: (input: z.output<S>, context: ToolContext) => Promise<ToolResult | string> | ToolResult | string;
}): Tool {
  const { name, description, input, polling = false, execute } = definition;
  const { $schema: _, ...inputSchema } = z.toJSONSchema(input, { io: "input" });
  return { ...named(name, description), inputSchema, ...(polling && { polling }), parse: (value) => parseWith(input, value), execute: async (value, context) => execute(value as z.output<S>, context) };
}

/**
 * A tool whose input is described by JSON Schema, as MCP servers give it. What zod can read of the schema is checked here;
 * a schema that it cannot read lets every object through, and the tool itself must refuse what does not fit.
 */
export function toolFromJsonSchema(definition: {
  name: string;
  description: string;
  inputSchema: JsonSchema;
  execute: (input: Record<string, unknown>, context: ToolContext) => Promise<ToolResult | string>;
}): Tool {
  const { name, description, inputSchema, execute } = definition;
  const schema = readable(inputSchema);
  return { ...named(name, description), inputSchema: toldSchema(inputSchema), parse: (value) => parseWith(schema, value), execute: (value, context) => execute(value as Record<string, unknown>, context) };
}

/** The texts of a result, one after the other; images are named in brackets. */
export function textOf(content: ToolResult["content"]): string {
  return typeof content === "string" ? content : content.map((part) => (part.type === "text" ? part.text : `[image ${part.mediaType}]`)).join("\n");
}

/** A result that tells the model what went wrong. */
export function failed(message: string): ToolResult {
  return { content: message, isError: true };
}

function named(name: string, description: string): { name: string; description: string } {
  if (!NAME.test(name)) throw new TypeError(`a tool's name is 1 to 64 of A-Z a-z 0-9 _ -, not '${name}'`);
  return { name, description };
}

/** The schema as every provider takes it: an object with properties, and no choice at its root. The fields of all choices are told; which go together the check says. */
function toldSchema({ oneOf, anyOf, allOf, ...schema }: JsonSchema): JsonSchema {
  const choices = [oneOf, anyOf, allOf].flatMap((each): unknown[] => (Array.isArray(each) ? each : []));
  const properties = [...choices, schema].map((each) => (each as { properties?: object } | null)?.properties ?? {});
  return { ...schema, type: "object", properties: Object.assign({}, ...properties) as object };
}

function readable(schema: JsonSchema): z.ZodType {
  const object = z.record(z.string(), z.unknown());
  try {
    return z.intersection(object, z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]));
  } catch {
    return object;
  }
}

function parseWith(schema: z.ZodType, value: unknown): ParsedInput {
  const parsed = schema.safeParse(value);
  if (parsed.success) return { ok: true, value: parsed.data };
  const issues = parsed.error.issues.flatMap(fieldsOf).slice(0, MAX_ISSUES).map((issue) => {
    const path = issue.path.map(String).join(".");
    const unknown = issue.code === "unrecognized_keys" ? `no such field; known are those of the schema` : issue.message;
    const field = issue.code === "unrecognized_keys" ? [path, issue.keys.join(", ")].filter(Boolean).join(".") : path;
    return `${field || "input"}: ${unknown}`;
  });
  return { ok: false, issues };
}

/** What is wrong with a choice is what is wrong with the alternative that comes closest; "invalid" alone helps nobody. */
function fieldsOf(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  const [closest] = issue.code === "invalid_union" ? issue.errors.filter((each) => each.length > 0).sort((a, b) => a.length - b.length) : [];
  return closest === undefined ? [issue] : closest.flatMap((inner) => fieldsOf({ ...inner, path: [...issue.path, ...inner.path] }));
}
