/** Owns the page `/session`. */

export function Session() {
  return <main class="page"><h1>Session</h1></main>;
}
