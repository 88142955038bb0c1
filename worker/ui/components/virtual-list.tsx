/** Owns the long list: only what is in sight is in the page; it stays at its end while the reader is there, and stays where it is when something comes in front or is measured there. */

import { Component, type ComponentChildren, type RefCallback } from "preact";
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";
import { Heights } from "./heights.ts";
import { Icon } from "./icon.tsx";

type Key = string | number;

export interface VirtualListProps {
  count: number;
  keyOf: (index: number) => Key;
  /** Grows when the row's content has changed: a row whose version is the same is not drawn again. */
  versionOf: (index: number) => number;
  render: (index: number) => ComponentChildren;
  label: string;
  /** Called when the reader comes to the top; answers how many items came in front. */
  onTop?: () => Promise<number>;
  header?: ComponentChildren;
}

/** Closer than this to the end counts as being there, pixels. */
const AT_END = 48;
/** Closer than this to the top asks for what was before. */
const AT_TOP = 200;
const GUESS = 56;
/** Rows that are drawn beyond what is in sight. */
const OVERSCAN = 8;

interface RowProps {
  index: number;
  version: number;
  render: (index: number) => ComponentChildren;
  measure: RefCallback<HTMLDivElement>;
}
class Row extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    return next.version !== this.props.version || next.index !== this.props.index;
  }
  override render({ index, render, measure }: RowProps) {
    return <div class="virtual-item" data-index={index} ref={measure}>{render(index)}</div>;
  }
}

/** Where the reader is, between renders. */
interface View {
  /** Offset of the first visible pixel among the rows, and how many are visible. */
  top: number;
  height: number;
  /** What stands above the rows. */
  above: number;
  follow: boolean;
  /** Key of the first row, to see what came in front. */
  first: Key | null;
  /** Pixels that came above what is in sight, and are to be scrolled over. */
  shift: number;
  drawn: { from: number; to: number };
  busy: boolean;
}

/** Brings the heights up to what is there now. */
function take(heights: Heights, view: View, count: number, keyOf: (index: number) => Key): void {
  if (count === 0 || count < heights.count) heights.clear();
  else if (heights.count > 0 && view.first !== null && keyOf(0) !== view.first) {
    let front = 0;
    while (front < count && keyOf(front) !== view.first) front++;
    if (front === count) heights.clear();
    else {
      heights.prepend(front);
      view.shift += heights.offset(front);
      view.top += heights.offset(front);
    }
  }
  heights.grow(count);
  view.first = count > 0 ? keyOf(0) : null;
}

function rangeOf(heights: Heights, { top, height, follow }: View): { from: number; to: number } {
  const at = follow ? Math.max(0, heights.total - height) : top;
  return { from: Math.max(0, heights.at(at) - OVERSCAN), to: Math.min(heights.count, heights.at(at + height) + 1 + OVERSCAN) };
}

export function VirtualList({ count, keyOf, versionOf, render, label, onTop, header }: VirtualListProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const space = useRef<HTMLDivElement>(null);
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  const [atEnd, setAtEnd] = useState(true);
  const [heights] = useState(() => new Heights(GUESS));
  const view = useRef<View>({ top: 0, height: 800, above: 0, follow: true, first: null, shift: 0, drawn: { from: 0, to: 0 }, busy: false }).current;
  const [sizes] = useState(() => new ResizeObserver((entries) => measured(entries)));
  const [measure] = useState(() => (element: HTMLDivElement | null) => {
    if (element) sizes.observe(element);
  });
  take(heights, view, count, keyOf);
  const { from, to } = (view.drawn = rangeOf(heights, view));

  /** Rows have got their true heights; what is in sight stays where it is. */
  function measured(entries: readonly ResizeObserverEntry[]): void {
    let changed = false;
    for (const { target, borderBoxSize } of entries) {
      if (!target.isConnected) {
        sizes.unobserve(target);
        continue;
      }
      const index = Number((target as HTMLElement).dataset["index"]);
      const above = heights.offset(index) + heights.get(index) <= view.top;
      const by = heights.set(index, borderBoxSize[0]?.blockSize ?? heights.get(index));
      changed ||= by !== 0;
      if (above && !view.follow) view.shift += by;
    }
    if (!changed) return;
    place();
    redraw(undefined);
  }
  /** Scrolls to where the reader is meant to be. */
  function place(): void {
    const element = scroller.current;
    if (!element) return;
    if (view.follow) element.scrollTop = element.scrollHeight;
    else if (view.shift !== 0) element.scrollTop += view.shift;
    view.shift = 0;
  }
  useLayoutEffect(() => {
    const above = space.current?.offsetTop ?? 0;
    if (!view.follow) view.shift += above - view.above;
    view.above = above;
    place();
  });
  useEffect(() => {
    const element = scroller.current;
    if (!element) return undefined;
    const watcher = new ResizeObserver(() => {
      view.height = element.clientHeight;
      place();
      redraw(undefined);
    });
    watcher.observe(element);
    return () => {
      watcher.disconnect();
      sizes.disconnect();
    };
  }, [view, sizes]);

  async function scrolled(): Promise<void> {
    const element = scroller.current;
    if (!element) return;
    const top = element.scrollTop - view.above;
    const end = element.scrollHeight - element.scrollTop - element.clientHeight < AT_END;
    // Only who scrolls up leaves the end: rows that grow below do not push anyone away from it.
    if (end) view.follow = true;
    else if (top < view.top) view.follow = false;
    view.top = top;
    setAtEnd(end || view.follow);
    const next = rangeOf(heights, view);
    if (next.from !== view.drawn.from || next.to !== view.drawn.to) redraw(undefined);
    if (element.scrollTop >= AT_TOP || !onTop || view.busy || end) return;
    view.busy = true;
    try {
      await onTop();
    } finally {
      view.busy = false;
    }
  }
  function toEnd(): void {
    view.follow = true;
    setAtEnd(true);
    redraw(undefined);
  }

  const rows: ComponentChildren[] = [];
  for (let i = from; i < to; i++) rows.push(<Row key={keyOf(i)} index={i} version={versionOf(i)} render={render} measure={measure} />);
  return (
    <div class="virtual">
      <div ref={scroller} class="virtual-scroller" role="log" aria-label={label} tabIndex={0} onScroll={() => void scrolled()}>
        {header}
        <div ref={space} class="virtual-space" style={{ height: `${heights.total}px` }}>
          <div class="virtual-window" style={{ transform: `translateY(${heights.offset(from)}px)` }}>{rows}</div>
        </div>
      </div>
      {!atEnd && <button class="to-end" type="button" onClick={toEnd}><Icon name="down" size={16} /> Latest</button>}
    </div>
  );
}
