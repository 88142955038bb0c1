/** Owns showing a secret the one time that it can be seen. */

import { Dialog } from "./dialog.tsx";
import { attempt } from "./notices.tsx";

export function Once({ title, secret, onClose }: { title: string; secret: string; onClose: () => void }) {
  return (
    <Dialog title={title} onClose={onClose}>
      <p>Copy it now: it is not shown again.</p>
      <pre class="sunken secret">{secret}</pre>
      <div class="dialog-foot"><button type="button" onClick={() => void attempt("It was not copied", () => navigator.clipboard.writeText(secret), "Copied")}>Copy</button><button type="button" class="primary" onClick={onClose}>I have it</button></div>
    </Dialog>
  );
}
