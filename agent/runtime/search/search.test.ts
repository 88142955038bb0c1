import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { textOf } from "../tool.ts";
import { webTools } from "../tools/web.ts";
import { isPublicAddress } from "./address.ts";
import { readableText } from "./html.ts";
import { fetchPage } from "./page.ts";
import { SearchError, type SearchProvider } from "./provider.ts";
import { createTavilySearch } from "./tavily.ts";

let server: Server;
let base: string;
const asked: { url: string; authorization: string | undefined; body: string }[] = [];
let open = 0;

beforeAll(async () => {
  server = createServer((request, response) => {
    const url = request.url ?? "";
    let body = "";
    open++;
    response.once("close", () => open--);
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      asked.push({ url, authorization: request.headers.authorization, body });
      const html = (text: string | Uint8Array, more = {}) => response.writeHead(200, { "content-type": "text/html; charset=utf-8", ...more }).end(text);
      if (url === "/page") html("<head><title>A &amp; B</title><script>no()</script></head><h1>Head</h1><p>One <a href='https://x.example/'>link</a><p>Two<ul><li>a<li>b</ul><style>p{}</style>");
      else if (url === "/gzip") html(gzipSync("<p>packed"), { "content-encoding": "gzip" });
      else if (url === "/bomb") html(gzipSync(Buffer.alloc(100_000_000)), { "content-encoding": "gzip", "content-type": "text/plain" });
      else if (url === "/endless") {
        response.writeHead(200, { "content-type": "text/plain" });
        const timer = setInterval(() => response.write("x".repeat(100_000)), 1);
        response.once("close", () => clearInterval(timer));
      } else if (url === "/hang") response.writeHead(200, { "content-type": "text/plain" }).write("begun");
      else if (url === "/pdf") response.writeHead(200, { "content-type": "application/pdf" }).end("%PDF");
      else if (url === "/latin1") response.writeHead(200, { "content-type": "text/plain; charset=iso-8859-1" }).end(Buffer.from("caf\xe9", "latin1"));
      else if (url === "/loop") response.writeHead(302, { location: "/loop" }).end();
      else if (url === "/to-file") response.writeHead(302, { location: "file:///etc/passwd" }).end();
      else if (url === "/broken") {
        response.writeHead(200, { "content-type": "text/plain", "content-length": "100" }).write("part");
        setTimeout(() => response.destroy(), 20);
      } else if (url === "/tavily/search") {
        const { query } = JSON.parse(body) as { query: string };
        const status = Number(/^status (\d+)/.exec(query)?.[1] ?? 200);
        const answer = status === 200 ? { results: query === "none" ? [] : [{ title: "T", url: "https://t.example/", content: "about T", published_date: "2026-01-01" }, { title: null, url: "https://u.example/", content: null }] } : { detail: { error: "no: because" } };
        response.writeHead(status, { "content-type": "application/json" }).end(query === "nonsense" ? "<html>" : JSON.stringify(answer));
      } else if (url === "/tavily/extract") {
        const fails = body.includes("fails");
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(fails ? { results: [], failed_results: [{ url: "x", error: "blocked" }] } : { results: [{ url: "https://t.example/", raw_content: "# Text" }], failed_results: [] }));
      } else response.writeHead(404).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const signal = new AbortController().signal;
const page = (path: string, maxBytes = 1_000_000, own = signal) => fetchPage(path.startsWith("/") ? base + path : path, { maxBytes, signal: own }, true);
const words = (promise: Promise<unknown>) => promise.then(() => "no error", (error: unknown) => (error instanceof SearchError ? error.message : `other: ${String(error)}`));

describe("a fetched page", () => {
  it("is its title and readable text", async () => {
    expect(await page("/page")).toEqual({ url: `${base}/page`, title: "A & B", truncated: false, text: "# Head\n\nOne link (https://x.example/)\nTwo\n\n- a\n- b" });
    expect((await page("/gzip")).text).toBe("packed");
    expect((await page("/latin1")).text).toBe("café");
  });
  it("is bounded, packed or not", async () => {
    expect(await page("/endless", 250_000)).toMatchObject({ truncated: true, text: expect.toSatisfy((text: string) => text.length === 250_000) as string });
    expect(await page("/bomb", 250_000)).toMatchObject({ truncated: true, text: expect.toSatisfy((text: string) => text.length === 250_000) as string });
    await expect.poll(() => open).toBe(0);
  });
  it("fails in words", async () => {
    expect(await words(page("/none"))).toContain("answered 404");
    expect(await words(page("/pdf"))).toContain("application/pdf, not text");
    expect(await words(page("/loop"))).toContain("more than 5 redirects");
    expect(await words(page("/to-file"))).toContain("http:// or https://");
    expect(await words(page("/broken"))).toContain("cannot be fetched");
    expect(await words(page("http://127.0.0.1:1/"))).toContain("cannot be fetched");
    for (const url of ["", "nonsense", "file:///etc/passwd", "javascript:1", "data:text/plain,x"]) expect(await words(page(url === "" ? " " : url))).toContain("no address that begins");
    expect(await words(page("http://user:pass@x.example/"))).toContain("a user or a password");
  });
  it("is left when the turn is canceled", async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 50);
    await expect(page("/hang", 1_000, stop.signal)).rejects.toMatchObject({ name: "AbortError" });
  });
  it("is never of a private address, however it is written", async () => {
    for (const url of [base, "http://localhost:1/", "http://0/", "http://2130706433/", "http://0x7f.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/latest/", "http://[fd00::1]/", "http://10.0.0.1/", "http://100.64.0.1/"]) {
      expect(await words(fetchPage(url, { maxBytes: 10, signal }))).toContain("private network");
    }
  });
});

describe("addresses", () => {
  it.each(["8.8.8.8", "1.1.1.1", "2606:4700::1111", "172.15.0.1", "172.32.0.1", "192.169.0.1"])("%s is public", (address) => expect(isPublicAddress(address)).toBe(true));
  it.each(["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1%eth0", "fc00::1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "ff02::1", "localhost", "", "1.2.3"])("'%s' is not", (address) => expect(isPublicAddress(address)).toBe(false));
});

describe("readable text", () => {
  it("comes of whatever is called HTML", () => {
    fc.assert(fc.property(fc.array(fc.oneof(fc.constantFrom("<", ">", "<!--", "-->", "<script>", "</script", "<a href=", "<title>", "<head", "</", "&#x110000;", "&#0;", "&amp;", '"', "<p>", "\0"), fc.string({ maxLength: 5 }))), (parts) => {
      expect(typeof readableText(parts.join("")).text).toBe("string");
    }));
  });
  it("takes no time without end", () => {
    for (const part of ["<script>", "<a href='", "<!--", "<", "<title>", "<head>", "&#", "</script "]) expect(readableText(part.repeat(200_000)).text.length).toBeGreaterThanOrEqual(0);
  });
});

describe("Tavily", () => {
  const tavily = (apiKey: string | undefined = "tvly-key") => createTavilySearch({ apiKey, baseUrl: `${base}/tavily` });
  it("is asked with its key", async () => {
    expect(await tavily().search("cats", { limit: 5, signal })).toEqual([{ title: "T", url: "https://t.example/", snippet: "about T", published: "2026-01-01" }, { title: "https://u.example/", url: "https://u.example/", snippet: "" }]);
    expect(asked.at(-1)).toMatchObject({ authorization: "Bearer tvly-key", body: '{"query":"cats","max_results":5}' });
    expect(await tavily().fetch?.("https://t.example/", { maxBytes: 3, signal })).toMatchObject({ text: "# T", truncated: true });
    expect(await words(tavily().fetch?.("https://fails.example/", { maxBytes: 3, signal }) ?? Promise.resolve())).toContain("could not read https://fails.example/: blocked");
  });
  it.each([["status 401", "refused its API key"], ["status 429", "rate limit"], ["status 432", "used up"], ["status 500", "answered 500: no: because"], ["nonsense", "not its API's"]])("says what is wrong at %s", async (query, expected) => {
    const said = await words(tavily().search(query, { limit: 1, signal }));
    expect(said).toContain(expected);
    expect(said).not.toContain("tvly-key");
  });
  it("says that its key is missing, at the first call", async () => {
    const before = asked.length;
    expect(await words(tavily("").search("x", { limit: 1, signal }))).toContain("TAVILY_API_KEY");
    expect(await words(createTavilySearch({ apiKey: "k", baseUrl: "http://127.0.0.1:1" }).search("x", { limit: 1, signal }))).toBe("Tavily cannot be reached");
    expect(asked).toHaveLength(before);
  });
});

/** As one would write it for SearXNG's JSON API: shows that the interface fits engines that only search. */
const searxng = (fetchJson: (url: string) => Promise<{ results: { title: string; url: string; content: string; publishedDate?: string }[] }>): SearchProvider => ({
  name: "searxng",
  async search(query, { limit }) {
    const { results } = await fetchJson(`https://searx.example/search?format=json&q=${encodeURIComponent(query)}`);
    return results.slice(0, limit).map(({ title, url, content, publishedDate }) => ({ title, url, snippet: content, published: publishedDate }));
  },
});

describe("the tools of the web", () => {
  const call = async (tools: ReturnType<typeof webTools>, name: string, input: unknown) => {
    const tool = tools.find((each) => each.name === name);
    const result = await tool?.execute(input, { callId: "1", signal, progress: () => {} });
    return result === undefined ? "" : typeof result === "string" ? result : textOf(result.content);
  };
  it("show results, and read pages in parts", async () => {
    const tools = webTools(searxng(() => Promise.resolve({ results: [{ title: "One", url: "https://one.example/", content: "y".repeat(9_000) }, { title: "Two", url: "https://two.example/", content: "" }] })), { allowPrivateAddresses: true });
    const found = await call(tools, "web_search", { query: "x", limit: 1 });
    expect(found).toMatch(/^1\. One\nhttps:\/\/one\.example\/\ny+… \[7500 more characters\]$/);
    expect(await call(tools, "fetch_url", { url: `${base}/page` })).toContain("A & B\n\n# Head");
    const first = await call(tools, "fetch_url", { url: `${base}/endless` });
    expect(first).toContain("read on with offset 30000]");
    expect(first.length).toBeLessThan(31_000);
  });
  it("do not reach private addresses unless they may", async () => {
    const tools = webTools(searxng(() => Promise.resolve({ results: [] })));
    await expect(call(tools, "fetch_url", { url: `${base}/page` })).rejects.toThrow("private network");
    expect(await call(tools, "web_search", { query: "x" })).toBe("No results.");
  });
});
