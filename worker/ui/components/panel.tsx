/** Owns what every page shows when it has nothing yet, nothing at all, or a fault in its place. */

import type { ComponentChildren } from "preact";
import { wordsOf } from "./notices.tsx";
import { Icon, type IconName } from "./icon.tsx";

export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ComponentChildren }) {
  return <div class="empty"><Icon name={icon} size={40} /><h2>{title}</h2>{children}</div>;
}

export function Fault({ error, again }: { error: unknown; again?: () => void }) {
  return <div class="fault" role="alert"><Icon name="warning" /><p>{wordsOf(error)}</p>{again && <button type="button" onClick={again}>Try again</button>}</div>;
}

export function Waiting({ what }: { what: string }) {
  return <p class="waiting" role="status"><i class="spinner" aria-hidden="true" />{what} …</p>;
}
