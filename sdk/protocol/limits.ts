/** Owns every size limit of the wire, in bytes or counts, so that a door can refuse before it parses. */

/** Largest JSON body that the API reads: a prompt of 1 MB with room for its escapes. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** Longest prompt, in UTF-16 units. A row of a Durable Object's SQLite holds 2 MB at most. */
export const MAX_PROMPT_CHARS = 1_048_576;
/** Largest message on a runner's link, either way. */
export const MAX_LINK_BYTES = 4 * 1024 * 1024;
/** Most items in one `events` frame. */
export const MAX_FRAME_ITEMS = 1_000;
/** Largest text in one event (log text, delta, tool output); what is longer is cut and marked `truncated`. */
export const MAX_TEXT_CHARS = 65_536;
/** Largest `raw` record kept beside an event, as JSON; a larger one is left out and marked. */
export const MAX_RAW_CHARS = 65_536;
/** Largest single event as JSON. */
export const MAX_EVENT_CHARS = 262_144;
/** Largest tool input kept in a permission request, as JSON. */
export const MAX_INPUT_CHARS = 65_536;
/** Largest stored block of events (one row), as JSON characters. */
export const MAX_BLOCK_CHARS = 1_000_000;
/** Most tasks that wait in one session. */
export const MAX_QUEUED_TASKS = 10_000;
/** Most permission requests that wait in one session. */
export const MAX_PENDING_PERMISSIONS = 1_000;
export const MAX_LABELS = 64;
export const MAX_ENV_VARS = 128;
export const MAX_RULES = 256;
/** Largest page of a list or of a log. */
export const MAX_PAGE = 1_000;
