/** Owns the page `/settings`. */

export function Settings() {
  return <main class="page"><h1>Settings</h1></main>;
}
