/** Owns the dashboard as a browser gets it: the one page with its content security policy, and the files that Vite made. */

import type { App, Ctx } from "../context.ts";
import type { DashboardFiles } from "../ui/files.ts";

/** First parts of the dashboard's own paths. */
const PAGES = ["/", "/sessions", "/inbox", "/files", "/costs", "/settings", "/hosts", "/schedules", "/sign-in"];
/** Stands in the page where the nonce goes. */
const NONCE = "__NONCE__";

/**
 * Nothing is loaded or run that is not ours. Styles may also be made by our own scripts (the terminal makes some), with the page's nonce;
 * blobs are what a person pastes or downloads, and what the microphone records.
 */
function policy(nonce: string): string {
  return [
    "default-src 'none'", "script-src 'self'", `style-src 'self' 'nonce-${nonce}'`, "connect-src 'self'", "img-src 'self' data: blob:", "media-src 'self' blob:", "font-src 'self'",
    "manifest-src 'self'", "worker-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "object-src 'none'",
  ].join("; ");
}

function bodyOf({ text, base64 }: DashboardFiles[string]): string | Uint8Array<ArrayBuffer> {
  return text ?? Uint8Array.from(atob(base64 ?? ""), (char) => char.charCodeAt(0));
}

/** A person's browser asks for a page, not a program for an answer. */
const browses = (c: Ctx) => c.req.raw.method === "GET" && (c.req.header("accept") ?? "").includes("text/html") && !/^\/(api|admin|gateway|links|assets)\//.test(c.req.path);

/**
 * Mount before the pages of the reference. `files` is empty where the worker was bundled without the dashboard: then nothing is mounted.
 * A browser that asks for what is nowhere gets the dashboard, which says so; all others get what `nowhere` answers.
 */
export function uiRoutes(app: App, files: DashboardFiles, nowhere: (c: Ctx) => Response | Promise<Response>): void {
  const index = files["/index.html"]?.text;
  if (index === undefined) return;
  function page(c: Ctx): Response | Promise<Response> {
    const nonce = c.get("request_id");
    c.header("content-security-policy", policy(nonce));
    c.header("permissions-policy", "camera=(), geolocation=(), payment=(), usb=(), microphone=(self)");
    return c.html((index ?? "").replaceAll(NONCE, nonce));
  }
  app.notFound((c) => {
    if (!browses(c)) return nowhere(c);
    c.status(404);
    return page(c);
  });
  for (const path of PAGES) {
    app.get(path, page);
    if (path !== "/") app.get(`${path}/*`, page);
  }
  for (const [path, file] of Object.entries(files)) {
    if (path === "/index.html") continue;
    // Vite names what is below /assets by its content.
    const kept = path.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "public, max-age=300";
    app.get(path, (c) => c.body(bodyOf(file), 200, { "content-type": file.type, "cache-control": kept }));
  }
}
