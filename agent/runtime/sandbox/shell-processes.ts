/** Owns the scripts that find and end processes inside a sandbox by the mark in their environment. */

/**
 * $1 the mark (`NAME=value`), $2 `kill` or `look`. Kills until nothing with the mark is left; `look` ends with 0 where something is.
 * The groups of those found go too: what has emptied its environment is still in one of them.
 */
export const MARKED = `tries=0
while [ "$tries" -lt 100 ]; do
  found=
  for file in /proc/[0-9]*/environ; do
    if tr '\\000' '\\n' < "$file" 2>/dev/null | grep -qxF -e "$1"; then
      pid=\${file#/proc/}; pid=\${pid%/environ}
      [ "$2" = look ] && exit 0
      found=1
      stat=$(cat "/proc/$pid/stat" 2>/dev/null) || continue
      set -- "$1" "$2" \${stat##*) }
      [ "$5" = "$pid" ] && kill -KILL "-$pid" 2>/dev/null
      kill -KILL "$pid" 2>/dev/null
    fi
  done
  [ "$2" = look ] && exit 1
  [ -z "$found" ] && exit 0
  tries=$((tries + 1)); sleep 0.02
done
exit 1`;

/**
 * Puts identity files into $1: on stdin a line of size and base64 name before each file's bytes, $2 the version. The version's file goes first and comes last,
 * so files that were put only in part are put again.
 */
export const HYDRATE = `cd "$1" || exit 1
rm -rf .next && mkdir .next || exit 1
while IFS=' ' read -r size name; do
  path=$(printf %s "$name" | base64 -d && printf x) || exit 1
  path=.next/\${path%x}
  mkdir -p -- "\${path%/*}" && head -c "$size" > "$path" && [ "$(stat -c %s -- "$path")" = "$size" ] || exit 1
done
rm -f .version
find . -mindepth 1 -maxdepth 1 ! -name .next -exec rm -rf -- {} + || exit 1
find .next -mindepth 1 -maxdepth 1 -exec mv -t . -- {} + || exit 1
rmdir .next && chmod -R a-w,a+rX . && chmod u+w . || exit 1
printf %s "$2" > .version`;

/** What `HYDRATE` reads. */
export function hydration(files: readonly { path: string; contents: Uint8Array }[]): Buffer {
  return Buffer.concat(files.flatMap(({ path, contents }) => [Buffer.from(`${contents.byteLength} ${Buffer.from(path).toString("base64")}\n`), contents]));
}
