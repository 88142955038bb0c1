/** Owns the dashboard's start: styles, who is signed in, and the first render. */

import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/layout.css";
import { render } from "preact";
import { App } from "./app.tsx";
import { enter } from "./store/me.ts";

void enter();
render(<App />, document.getElementById("app") as HTMLElement);
