/** Owns the parts of the dashboard that are fetched when they are first shown, and what stands in their place where they cannot be. */

import type { ComponentType } from "preact";
import { lazy } from "preact-iso";
import { useState } from "preact/hooks";
import { Fault } from "./panel.tsx";

const GONE = "This part of the dashboard could not be loaded: the server cannot be reached, or is of another version than this page";

/** Stands for the part until it comes after all. A server that is there without it is of another version: then the whole page is loaded anew. */
function standIn<P extends object>(load: () => Promise<ComponentType<P>>, heading: string | null): ComponentType<P> {
  let part: ComponentType<P> | null = null;
  return function StandIn(props: P) {
    const [, redraw] = useState(0);
    async function again(): Promise<void> {
      try {
        part = await load();
        redraw((n) => n + 1);
      } catch {
        if (await fetch("/").then(({ ok }) => ok, () => false)) location.reload();
      }
    }
    const Part = part;
    if (Part) return <Part {...props} />;
    const fault = <Fault error={GONE} again={() => void again()} />;
    return heading === null ? fault : <main class="page"><h1>{heading}</h1>{fault}</main>;
  };
}

/** `heading`: of a whole page; null where it is a part of one. */
export function fetched<P extends object>(load: () => Promise<ComponentType<P>>, heading: string | null = null): ComponentType<P> {
  return lazy(() => load().catch(() => standIn(load, heading))) as ComponentType<P>;
}
