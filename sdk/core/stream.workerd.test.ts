/** Owns the same proof inside workerd: the client runs in Workers. */

import "./sse.test.ts";
import "./stream.test.ts";
