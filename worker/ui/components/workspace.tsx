/** Owns the files of one session's workspace as they are now, wherever they are shown. */

import "../styles/files.css";
import { useMemo, useState } from "preact/hooks";
import { client } from "../client.ts";
import { FileBrowser, type FileSource } from "./file-browser.tsx";

export function sessionSource(id: string): FileSource {
  return { key: `session:${id}`, list: (path) => client.sessions.files.list(id, path), read: (path) => client.sessions.files.read(id, path) };
}

export function Workspace({ sessionId }: { sessionId: string }) {
  const source = useMemo(() => sessionSource(sessionId), [sessionId]);
  const [path, setPath] = useState("");
  return <FileBrowser source={source} path={path} onPath={setPath} />;
}
