/** Owns the icons: one stroke, 20 units, the text's colour. */

const PATHS = {
  fleet: "M3 4h6v5H3zM11 4h6v5h-6zM3 11h6v5H3zM11 11h6v5h-6z",
  inbox: "M3 11l2-7h10l2 7v5H3zM3 11h4l1 2h4l1-2h4",
  schedules: "M10 3a7 7 0 100 14 7 7 0 000-14zM10 6v4l3 2",
  files: "M3 5h5l2 2h7v9H3z",
  costs: "M4 16V9M8 16V5M12 16v-5M16 16V7",
  hosts: "M3 4h14v5H3zM3 11h14v5H3zM6 6.5h.01M6 13.5h.01",
  settings: "M10 7.5a2.5 2.5 0 100 5 2.5 2.5 0 000-5zM10 2.5v2M10 15.5v2M2.5 10h2M15.5 10h2M4.7 4.7l1.4 1.4M13.9 13.9l1.4 1.4M4.7 15.3l1.4-1.4M13.9 6.1l1.4-1.4",
  sun: "M10 6.5a3.5 3.5 0 100 7 3.5 3.5 0 000-7zM10 2v2M10 16v2M2 10h2M16 10h2M4.3 4.3l1.4 1.4M14.3 14.3l1.4 1.4M4.3 15.7l1.4-1.4M14.3 5.7l1.4-1.4",
  moon: "M16 11.5A6.5 6.5 0 018.5 4a6.5 6.5 0 107.5 7.5z",
  contrast: "M10 3a7 7 0 100 14 7 7 0 000-14zM10 3v14",
  leave: "M8 4H4v12h4M12 7l3 3-3 3M15 10H8",
  plus: "M10 4v12M4 10h12",
  close: "M5 5l10 10M15 5L5 15",
  stop: "M6 6h8v8H6z",
  send: "M4 10h11M11 5l5 5-5 5",
  pause: "M7 5v10M13 5v10",
  play: "M6 4l10 6-10 6z",
  fork: "M6 4v5a3 3 0 003 3h2a3 3 0 003-3V4M10 12v4",
  search: "M9 4a5 5 0 100 10A5 5 0 009 4zM13 13l4 4",
  chevron: "M7 5l5 5-5 5",
  down: "M10 4v12M5 11l5 5 5-5",
  mic: "M10 3a2 2 0 00-2 2v5a2 2 0 004 0V5a2 2 0 00-2-2zM5 9v1a5 5 0 0010 0V9M10 15v2",
  image: "M3 4h14v12H3zM3 13l4-4 4 4 2-2 4 4",
  screen: "M2.5 4h15v10h-15zM7 17h6M10 14v3",
  check: "M4 10l4 4 8-9",
  warning: "M10 3l8 14H2zM10 8v4M10 14.5h.01",
  download: "M10 3v9M6 9l4 4 4-4M4 16h12",
  copy: "M7 7h9v9H7zM4 13V4h9",
} as const;
export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }) {
  return <svg class="icon" width={size} height={size} viewBox="0 0 20 20" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d={PATHS[name]} /></svg>;
}
