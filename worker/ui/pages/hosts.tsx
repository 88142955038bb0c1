/** Owns the page `/hosts`. */

export function Hosts() {
  return <main class="page"><h1>Hosts</h1></main>;
}
