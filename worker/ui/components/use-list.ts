/** Owns reading a whole list into a page, and reading it again after a change. */

import { useCallback, useEffect, useState } from "preact/hooks";

export interface Listed<T> {
  items: T[] | null;
  error: unknown;
  again: () => void;
}

/** At most 500 items; `list` must not change between renders. */
export function useList<T>(list: () => AsyncIterable<T>): Listed<T> {
  const [state, setState] = useState<{ items: T[] | null; error: unknown }>({ items: null, error: null });
  const [round, setRound] = useState(0);
  useEffect(() => {
    let live = true;
    void (async () => {
      const items: T[] = [];
      try {
        for await (const item of list()) if (items.push(item) >= 500) break;
        if (live) setState({ items, error: null });
      } catch (error) {
        if (live) setState((before) => ({ ...before, error }));
      }
    })();
    return () => {
      live = false;
    };
  }, [list, round]);
  return { ...state, again: useCallback(() => setRound((n) => n + 1), []) };
}
