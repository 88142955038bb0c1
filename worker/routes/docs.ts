/** Owns the pages for people: what this is, and the API's reference made from its own document. */

import { html, raw } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";
import type { App, Ctx } from "../context.ts";
import { documentOf, type Document, type Operation } from "../openapi.ts";

type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

const STYLE = `
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,pre{font:.9em/1.45 ui-monospace,monospace}pre{background:var(--soft);padding:.75rem;overflow:auto;border-radius:.4rem}
nav ul{columns:14rem;padding-left:1rem}h2{border-bottom:1px solid var(--line);margin-top:2.5rem;text-transform:capitalize}
details{border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0;padding:.4rem .75rem}summary{cursor:pointer}
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{border-bottom:1px solid var(--line);text-align:left;padding:.25rem .5rem;vertical-align:top}
.verb{display:inline-block;min-width:5rem;font-weight:600}.quiet{opacity:.75}`;

/** An HTML answer that may load and run nothing but its own style. */
function page(c: Ctx, title: string, body: Html): Response | Promise<Response> {
  const nonce = c.get("request_id");
  c.header("content-security-policy", `default-src 'none'; style-src 'nonce-${nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`);
  return c.html(html`<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><style nonce="${nonce}">${raw(STYLE)}</style></head><body>${body}</body></html>`);
}

function typeOf(schema: unknown): string {
  if (typeof schema !== "object" || schema === null) return "";
  const { $ref, type, anyOf, items, enum: values } = schema as { $ref?: string; type?: string | string[]; anyOf?: unknown[]; items?: unknown; enum?: unknown[] };
  if ($ref) return $ref.split("/").at(-1) ?? "";
  if (values) return values.map(String).join(" | ");
  if (anyOf) return anyOf.map(typeOf).filter(Boolean).join(" | ");
  if (type === "array") return `${typeOf(items)}[]`;
  return [type ?? []].flat().filter((each) => each !== "null").join(" | ");
}

function fields(schema: unknown): { name: string; type: string; required: boolean }[] {
  const { properties = {}, required = [] } = (schema ?? {}) as { properties?: Record<string, unknown>; required?: string[] };
  return Object.entries(properties).map(([name, each]) => ({ name, type: typeOf(each), required: required.includes(name) }));
}

function table(rows: { name: string; type: string; required: boolean; place?: string }[]): Html {
  if (rows.length === 0) return html``;
  return html`<table><tbody>${rows.map(({ name, type, required, place }) => html`<tr><td><code>${name}</code>${required ? " *" : ""}</td><td>${place ?? ""}</td><td class="quiet">${type}</td></tr>`)}</tbody></table>`;
}

function operation(document: Document, path: string, verb: string, op: Operation): Html {
  const asked = (op.security ?? []).flatMap((each) => Object.entries(each)).map(([scheme, scopes]) => [scheme.replace("_", " "), ...scopes].join(": ")).join(", ");
  const schema = Object.values(op.requestBody?.content ?? {})[0]?.schema;
  const name = typeOf(schema);
  const body = name in document.components.schemas ? document.components.schemas[name] : schema;
  const parameters = (op.parameters ?? []).map((each) => ({ name: each.name, type: typeOf(each.schema), required: each.required ?? false, place: each.in }));
  return html`<details id="${verb}-${path}"><summary><span class="verb">${verb.toUpperCase()}</span><code>${path}</code> — ${op.summary ?? ""}</summary>
${op.description ? html`<p>${op.description}</p>` : ""}<p class="quiet">Needs: ${asked || "nothing"}</p>${table(parameters)}
${schema ? html`<p>Body <code>${name}</code></p>${table(fields(body))}` : ""}
<table><tbody>${Object.entries(op.responses).map(([status, each]) => html`<tr><td><code>${status}</code></td><td>${each.description}</td><td class="quiet">${typeOf(Object.values(each.content ?? {})[0]?.schema)}</td></tr>`)}</tbody></table></details>`;
}

function reference(document: Document): Html {
  const operations = Object.entries(document.paths).flatMap(([path, verbs]) => Object.entries(verbs).map(([verb, op]) => ({ path, verb, op, tag: op.tags?.[0] ?? "other" })));
  const tags = [...new Set(operations.map(({ tag }) => tag))];
  return html`<h1>${document.info.title} API</h1><p>${document.info.description ?? ""}</p>
<p>Base <code>/api/v1</code>, <code>Authorization: Bearer mk_…</code>; the document itself is at <a href="/openapi.json">/openapi.json</a>.</p>
<nav><ul>${tags.map((tag) => html`<li><a href="#${tag}">${tag}</a></li>`)}<li><a href="#schemas">schemas</a></li></ul></nav>
${tags.map((tag) => html`<h2 id="${tag}">${tag}</h2>${operations.filter((each) => each.tag === tag).map(({ path, verb, op }) => operation(document, path, verb, op))}`)}
<h2 id="schemas">Schemas</h2>${Object.entries(document.components.schemas).map(([name, schema]) => html`<details id="schema-${name}"><summary><code>${name}</code></summary>${table(fields(schema))}</details>`)}`;
}

const WELCOME = html`<h1>Marionette</h1>
<p>This is a Marionette server: it runs coding agents in isolated sandboxes, and lets people and programs drive, watch and trust them.</p>
<p><a href="/docs">The API's reference</a> · <a href="/openapi.json">OpenAPI document</a> · <a href="/health/ready">health</a></p>
<pre>npx mctl run --agent example "say hello"</pre>`;

/** Mount last: the document holds what `app` has by the first time that it is asked for. */
export function docRoutes(app: App): void {
  let document: Document | null = null;
  const current = () => (document ??= documentOf(app));
  app.get("/openapi.json", (c) => c.json(current()));
  app.get("/docs", (c) => page(c, "Marionette API", reference(current())));
  app.get("/", (c) => page(c, "Marionette", WELCOME));
}
