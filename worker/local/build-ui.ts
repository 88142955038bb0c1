/** Owns `npm run build:ui`: the dashboard as the module that `wrangler.toml` names. */

import { copyFile, mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { dashboardModule } from "./ui.ts";

const to = join(import.meta.dirname, "../ui/dist/files.js");
await mkdir(join(to, ".."), { recursive: true });
await copyFile(await dashboardModule(), to);
process.stdout.write(`worker/ui/dist/files.js: ${Math.round((await stat(to)).size / 1024)} KiB\n`);
