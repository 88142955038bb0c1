/** Owns the images that go with a prompt before it is sent: chosen, pasted, dropped or taken of the screen, sent at once, shown small, and taken back. */

import { useEffect, useRef, useState } from "preact/hooks";
import { imageTypeOf, MAX_ATTACHMENT_BYTES, MAX_TASK_ATTACHMENT_BYTES, MAX_TASK_ATTACHMENTS } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { Icon } from "./icon.tsx";
import { notify, wordsOf } from "./notices.tsx";

interface Image {
  key: number;
  name: string;
  size: number;
  url: string;
  /** The attachment's id, once the server has it. */
  id: string | null;
}
export interface Images {
  items: readonly Image[];
  /** Some are still on their way. */
  sending: boolean;
  add(files: Iterable<File>): Promise<void>;
  remove(key: number): void;
  clear(): void;
}

const MIB = 1024 * 1024;
let next = 1;

/** The images of the next prompt of a session. */
export function useImages(sessionId: string): Images {
  const [items, set] = useState<readonly Image[]>([]);
  const current = useRef(items);
  const change = (to: readonly Image[]) => set((current.current = to));
  useEffect(() => () => {
    for (const { url } of current.current) URL.revokeObjectURL(url);
    change([]);
  }, [sessionId]);

  async function one(file: File): Promise<void> {
    const bytes = await file.slice(0, 16).arrayBuffer();
    const media_type = imageTypeOf(new Uint8Array(bytes));
    const name = file.name || "image";
    if (media_type === null) return notify(`${name} is no PNG, JPEG, GIF or WebP image`, "failed");
    if (file.size > MAX_ATTACHMENT_BYTES) return notify(`${name} has ${(file.size / MIB).toFixed(1)} MiB; an image may have ${MAX_ATTACHMENT_BYTES / MIB}`, "failed");
    if (current.current.length >= MAX_TASK_ATTACHMENTS) return notify(`${MAX_TASK_ATTACHMENTS} images go with one prompt; ${name} was left out`, "failed");
    if (current.current.reduce((sum, { size }) => sum + size, file.size) > MAX_TASK_ATTACHMENT_BYTES) return notify(`The images of one prompt may have ${MAX_TASK_ATTACHMENT_BYTES / MIB} MiB together; ${name} was left out`, "failed");
    const key = next++;
    change([...current.current, { key, name, size: file.size, url: URL.createObjectURL(file), id: null }]);
    try {
      const { id } = await client.sessions.attachments.create(sessionId, { bytes: file, media_type, name });
      change(current.current.map((image) => (image.key === key ? { ...image, id } : image)));
    } catch (error) {
      notify(`${name} was not sent: ${wordsOf(error)}`, "failed");
      remove(key);
    }
  }
  function remove(key: number): void {
    const gone = current.current.find((image) => image.key === key);
    if (gone) URL.revokeObjectURL(gone.url);
    change(current.current.filter((image) => image !== gone));
  }
  return {
    items,
    sending: items.some(({ id }) => id === null),
    async add(files) {
      for (const file of files) await one(file);
    },
    remove,
    clear: () => current.current.forEach(({ key }) => remove(key)),
  };
}

export function ImageStrip({ images }: { images: Images }) {
  if (images.items.length === 0) return null;
  return (
    <ul class="image-strip" aria-label="Images to send">
      {images.items.map(({ key, name, url, id }) => (
        <li key={key} class={id === null ? "sending" : ""} aria-busy={id === null}>
          <img src={url} alt={name} title={name} />
          <button type="button" class="quiet" aria-label={`Remove ${name}`} onClick={() => images.remove(key)}><Icon name="close" size={16} /></button>
        </li>
      ))}
    </ul>
  );
}

/** Buttons that add images: from a file, or of the screen where the browser can. */
export function AddImages({ images }: { images: Images }) {
  const input = useRef<HTMLInputElement>(null);
  const canShoot = typeof navigator.mediaDevices?.getDisplayMedia === "function";
  return (
    <>
      <input
        ref={input} type="file" accept="image/png,image/jpeg,image/gif,image/webp" multiple hidden tabIndex={-1} aria-label="Images"
        onChange={(event) => { void images.add([...(event.currentTarget.files ?? [])]); event.currentTarget.value = ""; }}
      />
      <button type="button" class="quiet" aria-label="Add images" title="Add images; you can also paste or drop them" onClick={() => input.current?.click()}><Icon name="image" size={18} /></button>
      {canShoot && <button type="button" class="quiet" aria-label="Take a screenshot" title="Take a screenshot" onClick={() => void screenshot().then((file) => file && images.add([file]), (error: unknown) => notify(`No screenshot: ${wordsOf(error)}`, "failed"))}><Icon name="screen" size={18} /></button>}
    </>
  );
}

/** One picture of what the person chooses to share; null where they choose nothing. */
async function screenshot(): Promise<File | null> {
  let stream: MediaStream;
  try {
    stream = await navigator.mediaDevices.getDisplayMedia({ video: true });
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotAllowedError") return null;
    throw error;
  }
  try {
    const video = document.createElement("video");
    video.muted = true;
    video.srcObject = stream;
    await video.play();
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d")?.drawImage(video, 0, 0);
    const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
    return blob && new File([blob], `screenshot-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.png`, { type: "image/png" });
  } finally {
    for (const track of stream.getTracks()) track.stop();
  }
}

/** The images in what was pasted or dropped. */
export function filesOf(data: DataTransfer | null): File[] {
  return [...(data?.files ?? [])];
}
