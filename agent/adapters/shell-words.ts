/** Owns taking a shell wrapper off a command that was quoted by rule, so that people and rules see what runs. */

const WRAPPER = /^(?:\/[\w./-]*\/)?(?:ba|z|da)?sh -l?c ([\s\S]+)$/;
/** One piece of a single quoted word: bare, in single quotes, or in double quotes with nothing to expand. */
const PIECE = /([A-Za-z0-9_@%+=:,./-]+)|'([^']*)'|"([^"$`\\!]*)"/y;

/** The script of `bash -lc 'script'`; the whole command where it is anything else than that, to the letter. */
export function unwrapShell(command: string): string {
  const quoted = WRAPPER.exec(command)?.[1];
  return quoted === undefined ? command : (unquote(quoted) ?? command);
}

function unquote(word: string): string | null {
  let text = "";
  PIECE.lastIndex = 0;
  while (PIECE.lastIndex < word.length) {
    const piece = PIECE.exec(word);
    if (!piece) return null;
    text += piece[1] ?? piece[2] ?? piece[3] ?? "";
  }
  return text;
}
