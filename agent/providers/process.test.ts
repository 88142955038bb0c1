import { spawnSync } from "node:child_process";
import { providerConformance } from "../../test/conformance/provider.ts";
import { ProcessProvider } from "./process.ts";

const bubblewrap = spawnSync("bwrap", ["--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "true"]).status === 0;

const noLimits = "it has no limits of its own, says `limits: false`, and the session's isolation text says so";
const LIMITS = {
  "stops a fork bomb at the limit of processes": noLimits,
  "ends what goes over its memory and says so": noLimits,
  "bounds its temporary files": noLimits,
};

const noSaving = "it cannot save anything, says `snapshot: false` and does not offer it";
const SAVING = { "saves a sandbox, says what is lost, and starts it again": noSaving, "freezes a saved one no more, and saves a frozen one": noSaving };

providerConformance({
  name: "process with bubblewrap",
  make: (context) => new ProcessProvider(context),
  config: "providers: { process: { isolation: bubblewrap } }",
  unavailable: bubblewrap ? null : "bubblewrap does not work here (Debian, Ubuntu: apt-get install bubblewrap)",
  deviations: { ...LIMITS, ...SAVING },
});

const nothing = "nothing isolates a plain process, and the session's isolation text says so";
providerConformance({
  name: "process without isolation",
  make: (context) => new ProcessProvider(context),
  config: "providers: { process: { isolation: none } }",
  unavailable: null,
  deviations: {
    ...LIMITS,
    ...SAVING,
    ...Object.fromEntries(
      [
        "does not show the daemon's data, nor other sessions' files", "does not show other processes", "runs as an ordinary user without capabilities",
        "writes nowhere but in its own directories and temporary ones", "cannot read the host's password hashes",
      ].map((title) => [title, nothing]),
    ),
  },
});
