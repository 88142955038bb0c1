/** Owns the dialog: the browser's own, opened as a modal, closed by Escape, by its cross or by a click beside it. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "./icon.tsx";

export function Dialog({ title, onClose, children, wide = false }: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog ref={ref} class={wide ? "dialog wide" : "dialog"} aria-label={title} onCancel={(event) => { event.preventDefault(); onClose(); }} onMouseDown={(event) => event.target === ref.current && onClose()}>
      <header><h2>{title}</h2><button class="quiet" type="button" aria-label="Close" onClick={onClose}><Icon name="close" /></button></header>
      <div class="dialog-body">{children}</div>
    </dialog>
  );
}
