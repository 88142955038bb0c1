/** Owns the long list: only what is in sight is in the page; it stays at its end while the reader is there, and stays where it is when something comes in front. */

import { elementScroll, observeElementOffset, observeElementRect, Virtualizer, type VirtualizerOptions } from "@tanstack/virtual-core";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";
import { Icon } from "./icon.tsx";

export interface VirtualListProps {
  count: number;
  /** Anything that changes whenever an item's content may have. */
  revision: number;
  keyOf: (index: number) => string | number;
  render: (index: number) => ComponentChildren;
  label: string;
  /** Called when the reader comes to the top; answers how many items came in front. */
  onTop?: () => Promise<number>;
  header?: ComponentChildren;
  footer?: ComponentChildren;
}

/** Closer than this to the end counts as being there, pixels. */
const AT_END = 48;
const ESTIMATE = 56;

export function VirtualList({ count, revision, keyOf, render, label, onTop, header, footer }: VirtualListProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  const [atEnd, setAtEnd] = useState(true);
  const follow = useRef(true);
  const busy = useRef(false);
  const [virtualizer] = useState(() => new Virtualizer<HTMLDivElement, HTMLElement>({ count: 0, getScrollElement: () => scroller.current, estimateSize: () => ESTIMATE, scrollToFn: elementScroll, observeElementRect, observeElementOffset }));
  // One function for good: with another, all that was measured would be gone through again at every render.
  const keys = useRef(keyOf);
  keys.current = keyOf;
  const [keyAt] = useState(() => (index: number) => keys.current(index));
  const options: VirtualizerOptions<HTMLDivElement, HTMLElement> = {
    ...virtualizer.options, count, getItemKey: keyAt, overscan: 8, getScrollElement: () => scroller.current, estimateSize: () => ESTIMATE,
    onChange: () => redraw(undefined),
  };
  virtualizer.setOptions(options);
  useEffect(() => virtualizer._didMount(), [virtualizer]);
  useLayoutEffect(() => virtualizer._willUpdate());

  // What is new is followed only by who is at the end.
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element && follow.current) element.scrollTop = element.scrollHeight;
  });

  async function scrolled(): Promise<void> {
    const element = scroller.current;
    if (!element) return;
    const end = element.scrollHeight - element.scrollTop - element.clientHeight < AT_END;
    follow.current = end;
    setAtEnd(end);
    if (element.scrollTop < 200 && onTop && !busy.current && !end) {
      busy.current = true;
      try {
        const before = element.scrollHeight - element.scrollTop;
        if ((await onTop()) > 0) requestAnimationFrame(() => (element.scrollTop = element.scrollHeight - before));
      } finally {
        busy.current = false;
      }
    }
  }
  function toEnd(): void {
    follow.current = true;
    setAtEnd(true);
    const element = scroller.current;
    if (element) element.scrollTop = element.scrollHeight;
  }

  const shown = virtualizer.getVirtualItems();
  return (
    <div class="virtual">
      <div ref={scroller} class="virtual-scroller" role="log" aria-label={label} tabIndex={0} onScroll={() => void scrolled()} data-revision={revision}>
        {header}
        <div class="virtual-space" style={{ height: `${virtualizer.getTotalSize()}px` }}>
          {shown.map((item) => (
            <div key={item.key} data-index={item.index} ref={virtualizer.measureElement} class="virtual-item" style={{ transform: `translateY(${item.start}px)` }}>{render(item.index)}</div>
          ))}
        </div>
        {footer}
      </div>
      {!atEnd && <button class="to-end" type="button" onClick={toEnd}><Icon name="down" size={16} /> Latest</button>}
    </div>
  );
}
