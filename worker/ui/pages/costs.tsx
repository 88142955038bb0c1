/** Owns the page `/costs`. */

export function Costs() {
  return <main class="page"><h1>Costs</h1></main>;
}
