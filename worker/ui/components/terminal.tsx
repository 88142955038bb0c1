/** Owns the terminal: an agent's output through xterm.js, with its colours and a search. Nothing is sent back, and links, titles and the clipboard stay out of its reach. */

import "@xterm/xterm/css/xterm.css";
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { Terminal as Xterm } from "@xterm/xterm";
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "./icon.tsx";

const SCROLLBACK = 20_000;
/** Most of what came before that is drawn when the terminal is opened: more would scroll out of it. */
const MAX_CHARS = 1_000_000;
/** The colours of a transcript's output in the dark. */
const COLOURS = {
  background: "#0f1218", foreground: "#d7dbe4", black: "#8a93a6", red: "#f2857c", green: "#7fd59a", yellow: "#e9c46a", blue: "#88b4ff", magenta: "#d6a3f5", cyan: "#74d3dc", white: "#d7dbe4",
  brightBlack: "#9aa3b5", brightRed: "#ff9d95", brightGreen: "#98e8b1", brightYellow: "#ffdc8a", brightBlue: "#a6c8ff", brightMagenta: "#e7bdff", brightCyan: "#93e8f0", brightWhite: "#ffffff",
};
const nonce = document.querySelector<HTMLMetaElement>('meta[name="nonce"]')?.content ?? "";

/** A style attribute is not allowed by the page's policy; the same declarations through the element's own object are. */
function styledByObject(element: HTMLElement): HTMLElement {
  element.setAttribute = (name, value) => {
    if (name === "style") element.style.cssText = value;
    else Element.prototype.setAttribute.call(element, name, value);
  };
  return element;
}

/** The page's document, with every style that is made through it carrying the nonce that the page's policy asks for. */
const nonced = new Proxy(document, {
  get(target, name) {
    if (name === "createElement") {
      return (tag: string) => {
        const made = Document.prototype.createElement.call(target, tag);
        if (tag.toLowerCase() === "style") made.nonce = nonce;
        return tag === "span" ? styledByObject(made) : made;
      };
    }
    const value: unknown = Reflect.get(target, name, target);
    return typeof value === "function" ? (value.bind(target) as unknown) : value;
  },
});

/** Only what draws is let through: everything that asks, names, links or copies is dropped before it is parsed. */
function harmless(terminal: Xterm): void {
  for (const id of [0, 1, 2, 4, 7, 8, 9, 10, 11, 12, 52, 104, 110, 111, 112, 133, 633, 777, 1337]) terminal.parser.registerOscHandler(id, () => true);
  for (const final of ["c", "n", "t"]) terminal.parser.registerCsiHandler({ final }, () => true);
  terminal.parser.registerCsiHandler({ prefix: "?", final: "n" }, () => true);
  terminal.parser.registerCsiHandler({ prefix: ">", final: "c" }, () => true);
  terminal.parser.registerDcsHandler({ final: "q" }, () => true);
  terminal.parser.registerDcsHandler({ intermediates: "$", final: "q" }, () => true);
}

/** `parts`: the output so far. */
export function Terminal({ parts, label }: { parts: readonly string[]; label: string }) {
  const place = useRef<HTMLDivElement>(null);
  const shown = useRef<{ terminal: Xterm; search: SearchAddon; text: string } | null>(null);
  const [wanted, setWanted] = useState("");
  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const terminal = new Xterm({ disableStdin: true, convertEol: true, scrollback: SCROLLBACK, fontSize: 13, fontFamily: "ui-monospace, Menlo, Consolas, monospace", theme: COLOURS, screenReaderMode: true, linkHandler: null, documentOverride: nonced, allowProposedApi: true });
    const fit = new FitAddon();
    const search = new SearchAddon();
    terminal.loadAddon(fit);
    terminal.loadAddon(search);
    harmless(terminal);
    // Its scroll bar's style is made through the window's own document, whatever it was told.
    document.createElement = nonced.createElement.bind(nonced);
    try {
      terminal.open(element);
    } finally {
      Reflect.deleteProperty(document, "createElement");
    }
    fit.fit();
    const watcher = new ResizeObserver(() => fit.fit());
    watcher.observe(element);
    shown.current = { terminal, search, text: "" };
    return () => {
      watcher.disconnect();
      terminal.dispose();
      shown.current = null;
    };
  }, []);
  useEffect(() => {
    const now = shown.current;
    if (!now) return;
    const text = parts.join("");
    // What came in the middle, such as the output of a command that ran meanwhile, puts all that is behind it elsewhere.
    const goesOn = text.startsWith(now.text);
    if (!goesOn) now.terminal.reset();
    now.terminal.write(text.slice(Math.max(goesOn ? now.text.length : 0, text.length - MAX_CHARS)));
    now.text = text;
  });
  return (
    <section class="terminal-view" aria-label={label}>
      <form class="row terminal-search" onSubmit={(event) => { event.preventDefault(); shown.current?.search.findNext(wanted); }}>
        <label class="inline"><span class="visually-hidden">Search the output</span><input type="search" placeholder="Search the output" value={wanted} onInput={(event) => { setWanted(event.currentTarget.value); shown.current?.search.findNext(event.currentTarget.value, { incremental: true }); }} /></label>
        <button type="submit" class="quiet" aria-label="Next"><Icon name="down" size={16} /></button>
      </form>
      <div ref={place} class="terminal-place" />
    </section>
  );
}
