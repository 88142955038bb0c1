/** Owns the dashboard's start: styles, sign-in, and the first render. */

import { render } from "preact";

render(<p>hello</p>, document.getElementById("app") as HTMLElement);
