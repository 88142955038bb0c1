/** Owns the dialog: the browser's own, opened as a modal, closed by Escape, by its cross or by a click beside it. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "./icon.tsx";

export function Dialog({ title, onClose, children, wide = false }: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null);
  // Before a field of the dialog has taken it.
  const [opener] = useState(() => document.activeElement);
  useEffect(() => {
    ref.current?.showModal();
    // The browser gives the focus back only from a dialog that is closed before it is gone.
    return () => void setTimeout(() => opener instanceof HTMLElement && opener.isConnected && document.activeElement === document.body && opener.focus());
  }, []);
  return (
    <dialog ref={ref} class={wide ? "dialog wide" : "dialog"} aria-label={title} onCancel={(event) => { event.preventDefault(); onClose(); }} onMouseDown={(event) => event.target === ref.current && onClose()}>
      <header><h2>{title}</h2><button class="quiet" type="button" aria-label="Close" onClick={onClose}><Icon name="close" /></button></header>
      <div class="dialog-body">{children}</div>
    </dialog>
  );
}
