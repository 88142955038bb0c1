/** Owns the page `/files`. */

export function Files() {
  return <main class="page"><h1>Files</h1></main>;
}
