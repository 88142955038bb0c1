/** Owns the images of a task in the transcript: read when they come into sight, small, and large on a click. */

import { useEffect, useState } from "preact/hooks";
import type { Attachment } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { Dialog } from "./dialog.tsx";
import { plain } from "./format.ts";
import { wordsOf } from "./notices.tsx";

function ShownImage({ session, image }: { session: string; image: Attachment }) {
  const [url, setUrl] = useState<string | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [large, setLarge] = useState(false);
  useEffect(() => {
    const gone = new AbortController();
    let made: string | null = null;
    client.sessions.attachments.read(session, image.id, { signal: gone.signal }).then(
      (blob) => !gone.signal.aborted && setUrl((made = URL.createObjectURL(blob))),
      (error: unknown) => !gone.signal.aborted && setTrouble(wordsOf(error)),
    );
    return () => {
      gone.abort();
      if (made !== null) URL.revokeObjectURL(made);
    };
  }, [session, image.id]);
  const name = plain(image.name);
  if (trouble !== null) return <li class="gone hint" title={trouble}>{name} cannot be shown</li>;
  if (url === null) return <li class="sending" aria-busy="true" aria-label={name} />;
  return (
    <li>
      <button type="button" class="image-open" aria-label={`Show ${name} large`} onClick={() => setLarge(true)}><img src={url} alt={name} title={name} /></button>
      {large && <Dialog title={name} wide onClose={() => setLarge(false)}><img class="image-large" src={url} alt={name} /></Dialog>}
    </li>
  );
}

export function ShownImages({ session, images }: { session: string; images: readonly Attachment[] }) {
  if (images.length === 0) return null;
  return <ul class="image-strip" aria-label="Images of this task">{images.map((image) => <ShownImage key={image.id} session={session} image={image} />)}</ul>;
}
