/** Owns making readable text of a web page: one pass over its tags, in time linear in its length, whatever it holds. */

/** Elements whose contents nobody reads. */
const HIDDEN = new Set(["script", "style", "noscript", "template", "svg", "head", "iframe", "object"]);
const BLOCKS = new Set(["p", "div", "section", "article", "header", "footer", "main", "nav", "aside", "ul", "ol", "table", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "br", "hr", "pre", "blockquote", "form", "figure", "dl", "dt", "dd", "title"]);
const NAMED: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: " ", ndash: "–", mdash: "—", hellip: "…", copy: "©", laquo: "«", raquo: "»", rsquo: "’", lsquo: "‘", rdquo: "”", ldquo: "“", bull: "•", middot: "·", euro: "€" };

/** Title and text: blocks on lines of their own, headings with `#`, list items with `-`, links with their targets. */
export function readableText(html: string): { title: string | null; text: string } {
  const out: string[] = [];
  let title: string | null = null;
  let href: string | null = null;
  for (let at = 0; at < html.length; ) {
    const open = html.indexOf("<", at);
    if (open !== at) out.push(plain(html.slice(at, open < 0 ? undefined : open)));
    if (open < 0) break;
    const comment = html.startsWith("<!--", open);
    const close = html.indexOf(comment ? "-->" : ">", open);
    if (close < 0) break;
    at = close + (comment ? 3 : 1);
    const tag = /^<(\/?)([a-zA-Z][a-zA-Z0-9]*)/.exec(html.slice(open, open + 40));
    if (comment || tag === null) continue;
    const name = tag[2]?.toLowerCase() ?? "";
    const ending = tag[1] === "/";
    if (name === "title" && !ending && title === null) {
      const end = html.indexOf("</", at);
      title = plain(html.slice(at, end < 0 ? undefined : end)).trim() || null;
    }
    if (HIDDEN.has(name) && !ending && !html.slice(open, close).endsWith("/")) {
      if (name === "head") title ??= headTitle(html, at);
      at = after(html, at, name);
    } else if (name === "a") {
      if (ending && href !== null) out.push(` (${href})`);
      href = ending ? null : target(html.slice(open, Math.min(close, open + 3_000)));
    } else if (name === "li" && !ending) out.push("\n- ");
    else if (/^h[1-6]$/.test(name) && !ending) out.push(`\n\n${"#".repeat(Number(name[1]))} `);
    else if (name === "td" || name === "th") out.push(ending ? "" : " | ");
    else if (BLOCKS.has(name)) out.push("\n");
  }
  const text = out.join("").replaceAll(/[ \t\r\f\v]+/g, " ").replaceAll(/ ?\n ?/g, "\n").replaceAll(/\n{3,}/g, "\n\n").trim();
  return { title, text };
}

/** Where the element's end tag is over; the page's end where it has none. */
function after(html: string, from: number, name: string): number {
  // Case-insensitive without a copy of the page in lower case for each element.
  const end = new RegExp(`</${name}\\b[^>]*>`, "gi");
  end.lastIndex = from;
  return end.exec(html) === null ? html.length : end.lastIndex;
}

function headTitle(html: string, from: number): string | null {
  const found = /<title[^>]{0,500}>([^<]{0,1000})/i.exec(html.slice(from, from + 200_000));
  return found?.[1] === undefined ? null : plain(found[1]).trim() || null;
}

function target(tag: string): string | null {
  const found = /\shref\s*=\s*(?:"([^"]{1,2000})"|'([^']{1,2000})'|([^\s>]{1,2000}))/i.exec(tag);
  const url = plain(found?.[1] ?? found?.[2] ?? found?.[3] ?? "");
  return /^https?:\/\//i.test(url) ? url : null;
}

function plain(text: string): string {
  return text.replaceAll(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,10}));/gi, (all, decimal?: string, hex?: string, named?: string) => {
    if (named !== undefined) return NAMED[named.toLowerCase()] ?? all;
    const point = decimal === undefined ? Number.parseInt(hex ?? "", 16) : Number(decimal);
    return point > 0 && point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff) ? String.fromCodePoint(point) : "\ufffd";
  });
}
