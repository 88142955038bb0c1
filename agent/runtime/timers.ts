/** Owns what timers can do: one of more than this many milliseconds (24.8 days) goes off at once. */

export const MAX_TIMER_MS = 2 ** 31 - 1;
