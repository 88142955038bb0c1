/** Owns the tools for files: `read_file`, `write_file`, `edit_file`, `list_dir`, `delete_file`. */

import * as z from "zod";
import { imageType, MAX_IMAGE_BYTES } from "../images.ts";
import { IDENTITY, WORKSPACE, WorkspaceError, type AgentWorkspace } from "../sandbox/contracts.ts";
import { placeOf } from "../sandbox/paths.ts";
import { toolFromZod, type Tool, type ToolResult } from "../tool.ts";
import { hunk } from "./diff.ts";
import { textOfBytes } from "./text.ts";

const DEFAULT_LINES = 2_000;
const MAX_LINE_CHARS = 2_000;
const MAX_READ_CHARS = 60_000;
const MAX_TEXT_BYTES = 10 * 1024 * 1024;
const MAX_LISTED = 1_000;

const path = z.string().min(1).max(4_096).describe(`Absolute below ${WORKSPACE} or relative to it; ${IDENTITY} can be read`);

export function fileTools(workspace: AgentWorkspace): Tool[] {
  const reading = [readTool(workspace), listTool(workspace)];
  return workspace.capabilities.write ? [...reading, writeTool(workspace), editTool(workspace), deleteTool(workspace)] : reading;
}

function readTool(workspace: AgentWorkspace): Tool {
  return toolFromZod({
    name: "read_file",
    description: `Reads a text file with line numbers (a number and a tab before each line, which are not part of the file), or shows an image (PNG, JPEG, GIF, WebP). At most ${DEFAULT_LINES} lines at a time: read on with offset. Other binary files are refused.`,
    input: z.strictObject({ path, offset: z.number().int().min(1).optional().describe("First line, counted from 1"), limit: z.number().int().min(1).max(DEFAULT_LINES).optional().describe("Number of lines") }),
    async execute({ path, offset = 1, limit = DEFAULT_LINES }, { signal }): Promise<ToolResult | string> {
      const { bytes, path: shown } = await contents(workspace, path, signal);
      const mediaType = imageType(bytes);
      if (mediaType !== null) {
        if (bytes.byteLength > MAX_IMAGE_BYTES) throw new WorkspaceError("too_large", `${shown} is an image of ${bytes.byteLength} bytes, more than the ${MAX_IMAGE_BYTES} that can be looked at; make it smaller first`);
        return { content: [{ type: "text", text: `${shown} (${mediaType}, ${bytes.byteLength} bytes)` }, { type: "image", data: Buffer.from(bytes).toString("base64"), mediaType }] };
      }
      return numbered(textOfBytes(bytes, shown), shown, offset, limit);
    },
  });
}

function numbered(text: string, shown: string, offset: number, limit: number): ToolResult | string {
  if (text === "") return `[${shown} is empty]`;
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  if (offset > lines.length) return { content: `${shown} has only ${lines.length} lines`, isError: true };
  const out: string[] = [];
  let chars = 0;
  for (const line of lines.slice(offset - 1, offset - 1 + limit)) {
    const cut = line.length > MAX_LINE_CHARS ? `${line.slice(0, MAX_LINE_CHARS).toWellFormed()}… [${line.length - MAX_LINE_CHARS} more characters]` : line;
    const shownLine = `${String(offset + out.length).padStart(6)}\t${cut}`;
    if (chars + shownLine.length > MAX_READ_CHARS && out.length > 0) break;
    chars += shownLine.length + 1;
    out.push(shownLine);
  }
  const next = offset + out.length;
  return next > lines.length ? out.join("\n") : `${out.join("\n")}\n[${lines.length} lines in all; read on with offset ${next}]`;
}

function writeTool(workspace: AgentWorkspace): Tool {
  return toolFromZod({
    name: "write_file",
    description: "Writes a whole file, with the directories on its way. What was in it is replaced: to change a part of a file, use edit_file.",
    input: z.strictObject({ path, content: z.string() }),
    async execute({ path, content }, { signal }) {
      const place = placeOf(path, workspace.root, workspace.identity);
      const before = await previous(workspace, path, signal);
      const { created } = await workspace.write(path, content.toWellFormed(), { signal });
      const diff = before === null ? "" : hunk(before, content);
      const lines = content === "" ? 0 : content.split("\n").length - (content.endsWith("\n") ? 1 : 0);
      return { content: `${created ? "Created" : "Replaced"} ${place.shown} (${lines} ${lines === 1 ? "line" : "lines"}).`, changes: [{ path: place.relative, change: created ? "created" : "modified", ...(diff !== "" && { diff }) }] };
    },
  });
}

function editTool(workspace: AgentWorkspace): Tool {
  return toolFromZod({
    name: "edit_file",
    description: "Replaces old_text by new_text in a file, exactly: with all spaces, tabs and line ends, without the line numbers of read_file. old_text must be there once; give more of the lines around it where it is not, or set replace_all.",
    input: z.strictObject({ path, old_text: z.string().min(1), new_text: z.string(), replace_all: z.boolean().optional() }),
    async execute({ path, old_text: old, new_text: replacement, replace_all: all = false }, { signal }) {
      if (old === replacement) throw new WorkspaceError("invalid", "old_text and new_text are the same: nothing to change");
      const place = placeOf(path, workspace.root, workspace.identity);
      const { bytes, path: shown, version } = await contents(workspace, path, signal);
      const text = textOfBytes(bytes, shown);
      const parts = text.split(old);
      const found = parts.length - 1;
      if (found === 0) throw new WorkspaceError("invalid", `old_text is not in ${shown}${nearly(text, old)}`);
      // Overlapping places count too: which one is meant cannot be told.
      if (!all && (found > 1 || text.indexOf(old, text.indexOf(old) + 1) >= 0)) throw new WorkspaceError("invalid", `old_text is in ${shown} ${found > 1 ? `${found} times` : "more than once, overlapping"}, at ${places(text, old)}: give more of the lines around it, or set replace_all`);
      const after = parts.join(replacement.toWellFormed());
      await workspace.write(path, after, { version, signal });
      const diff = hunk(text, after);
      return { content: `Replaced ${found === 1 ? "one place" : `${found} places`} in ${shown}.\n${diff}`, changes: [{ path: place.relative, change: "modified", diff }] };
    },
  });
}

function listTool(workspace: AgentWorkspace): Tool {
  return toolFromZod({
    name: "list_dir",
    description: "Lists a directory: directories first (with a slash), then files with their sizes in bytes; links are marked with @.",
    input: z.strictObject({ path: path.optional() }),
    async execute({ path = WORKSPACE }, { signal }) {
      const entries = await workspace.list(path, { signal });
      if (entries.length === 0) return "[empty]";
      const lines = entries.slice(0, MAX_LISTED).map(({ name, kind, size }) => {
        // A name may hold line ends, which would look like two.
        const shown = /[\n\r\t]/.test(name) ? JSON.stringify(name) : name;
        return kind === "directory" ? `${shown}/` : kind === "file" ? `${shown}\t${size}` : kind === "symlink" ? `${shown}@` : `${shown}\t[no file]`;
      });
      return entries.length > MAX_LISTED ? `${lines.join("\n")}\n[${entries.length - MAX_LISTED} more entries]` : lines.join("\n");
    },
  });
}

function deleteTool(workspace: AgentWorkspace): Tool {
  return toolFromZod({
    name: "delete_file",
    description: "Deletes a file, a link (not what it names) or an empty directory; a directory with all that is in it only with recursive.",
    input: z.strictObject({ path, recursive: z.boolean().optional() }),
    async execute({ path, recursive = false }, { signal }) {
      const place = placeOf(path, workspace.root, workspace.identity);
      await workspace.delete(path, { recursive, signal });
      return { content: `Deleted ${place.shown}.`, changes: [{ path: place.relative, change: "deleted" }] };
    },
  });
}

async function contents(workspace: AgentWorkspace, path: string, signal: AbortSignal) {
  const file = await workspace.read(path, { length: MAX_TEXT_BYTES, signal });
  if (file.size > MAX_TEXT_BYTES) throw new WorkspaceError("too_large", `${file.path} has ${file.size} bytes, more than the ${MAX_TEXT_BYTES} that can be read here; take what you need with exec (sed -n '1,100p', grep, head, tail)`);
  return file;
}

/** What a file held, where it was text that can be compared; null otherwise. */
async function previous(workspace: AgentWorkspace, path: string, signal: AbortSignal): Promise<string | null> {
  try {
    const { bytes, path: shown } = await contents(workspace, path, signal);
    return textOfBytes(bytes, shown);
  } catch (error) {
    if (error instanceof WorkspaceError) return null;
    throw error;
  }
}

function places(text: string, old: string): string {
  const lines: number[] = [];
  for (let at = text.indexOf(old); at >= 0 && lines.length < 5; at = text.indexOf(old, at + 1)) lines.push(text.slice(0, at).split("\n").length);
  return `line${lines.length === 1 ? "" : "s"} ${lines.join(", ")}`;
}

/** Why it is not there, where that can be seen. */
function nearly(text: string, old: string): string {
  if (text.includes(old.replaceAll("\n", "\r\n"))) return ": the file's lines end in \\r\\n";
  if (/^ *\d+\t/m.test(old) && text.includes(old.replaceAll(/^ *\d+\t/gm, ""))) return ": leave out the line numbers that read_file puts before each line";
  const flat = (value: string) => value.replaceAll(/\s+/g, " ").trim();
  if (flat(old) !== "" && flat(text).includes(flat(old))) return ": it is there with other spaces, tabs or line ends; read the file again and copy it exactly";
  return "; read the file again, it may have changed";
}
