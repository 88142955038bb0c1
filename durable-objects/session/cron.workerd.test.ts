/** Owns the proof that due times are the same inside the runtime, with its own time zones. */

import "./cron.test.ts";
