/** Owns the page `/inbox`. */

export function Inbox() {
  return <main class="page"><h1>Inbox</h1></main>;
}
