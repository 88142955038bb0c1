/** Owns the frame of every page: navigation, who is signed in, whether what is shown is live; and which page an address shows. */

import { ErrorBoundary, LocationProvider, Route, Router, useLocation } from "preact-iso";
import { useEffect } from "preact/hooks";
import { fetched } from "./components/fetched.tsx";
import { Icon, type IconName } from "./components/icon.tsx";
import { Notices } from "./components/notices.tsx";
import { Own } from "./components/own.tsx";
import { Fleet } from "./pages/fleet.tsx";
import { SignIn } from "./pages/sign-in.tsx";
import { connection, watch } from "./store/fleet.ts";
import { me } from "./store/me.ts";
import { waiting, watchPermissions } from "./store/permissions.ts";

const Session = fetched(() => import("./pages/session.tsx").then((page) => page.Session), "Session");
const Inbox = fetched(() => import("./pages/inbox.tsx").then((page) => page.Inbox), "Inbox");
const Files = fetched(() => import("./pages/files.tsx").then((page) => page.Files), "Files");
const Costs = fetched(() => import("./pages/costs.tsx").then((page) => page.Costs), "Costs");
const Schedules = fetched(() => import("./pages/schedules.tsx").then((page) => page.Schedules), "Schedules");
const Settings = fetched(() => import("./pages/settings.tsx").then((page) => page.Settings), "Settings");

const PLACES: readonly { path: string; name: string; icon: IconName }[] = [
  { path: "/", name: "Fleet", icon: "fleet" },
  { path: "/inbox", name: "Inbox", icon: "inbox" },
  { path: "/schedules", name: "Schedules", icon: "schedules" },
  { path: "/files", name: "Files", icon: "files" },
  { path: "/costs", name: "Costs", icon: "costs" },
  { path: "/settings", name: "Settings", icon: "settings" },
];

function Navigation() {
  const { path } = useLocation();
  const here = (place: string) => (place === "/" ? path === "/" || path.startsWith("/sessions") : place === "/settings" ? path.startsWith(place) || path === "/hosts" : path.startsWith(place));
  return (
    <nav class="navigation" aria-label="Main">
      <a class="brand" href="/" aria-label="Marionette, fleet"><img src="/favicon.svg" alt="" width="26" height="26" /><span>Marionette</span></a>
      <ul>
        {PLACES.map((place) => (
          <li key={place.path}>
            <a href={place.path} aria-current={here(place.path) ? "page" : undefined}>
              <Icon name={place.icon} />
              <span>{place.name}</span>
              {place.path === "/inbox" && waiting.value > 0 && <b class="count" aria-label={`${waiting.value} waiting`}>{waiting.value > 99 ? "99+" : waiting.value}</b>}
            </a>
          </li>
        ))}
      </ul>
      <div class="foot">
        <Connection />
        <Own />
      </div>
    </nav>
  );
}

const WORDS = { connecting: "Connecting", live: "Live", waiting: "Reconnecting", ended: "Not live", closed: "Not live" } as const;
function Connection() {
  return <p class={`connection ${connection.value}`} role="status"><i aria-hidden="true" /><span>{WORDS[connection.value]}</span></p>;
}

function NotFound() {
  return <main class="page"><h1>No such page</h1><p>The address leads nowhere. <a href="/">Go to the fleet</a></p></main>;
}

function Pages() {
  useEffect(() => {
    watch();
    watchPermissions();
  }, []);
  return (
    <div class="frame">
      <a class="skip" href="#content">Skip to the content</a>
      <Navigation />
      <div id="content" class="content" tabIndex={-1}>
        <ErrorBoundary onError={(error) => console.error(error)}>
          <Router>
            <Route path="/" component={Fleet} />
            <Route path="/sessions/:id" component={Session} />
            <Route path="/inbox" component={Inbox} />
            <Route path="/files/*" component={Files} />
            <Route path="/files" component={Files} />
            <Route path="/costs" component={Costs} />
            <Route path="/schedules" component={Schedules} />
            <Route path="/hosts" component={Settings} />
            <Route path="/settings/*" component={Settings} />
            <Route path="/settings" component={Settings} />
            <Route default component={NotFound} />
          </Router>
        </ErrorBoundary>
      </div>
      <Notices />
    </div>
  );
}

export function App() {
  const who = me.value;
  if (who === undefined) return <p class="starting" role="status">Starting …</p>;
  return who === null ? <SignIn /> : <LocationProvider><Pages /></LocationProvider>;
}
