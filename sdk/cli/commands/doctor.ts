/** Owns `mctl doctor`: whether a deployment is well, line by line, with what to do. */

import { ProtocolError } from "../../core/errors.ts";
import { RELEASE, type Check, type Diagnosis } from "../../protocol/doctor.ts";
import { defineCommand } from "../command.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../io.ts";
import { flag, text } from "../option.ts";
import { oneLine, type Style } from "../output/terminal.ts";
import { VERSION } from "../version.ts";
import { chaosChecks } from "./doctor-chaos.ts";

const MARKS = { ok: ["ok", "green"], warning: ["warning", "yellow"], failed: ["FAILED", "red"] } as const satisfies Record<Check["status"], readonly [string, Style]>;
/** A clock that is off by more makes ages and expiries wrong. */
const SKEW_MS = 5_000;

export const doctorCommand = defineCommand({
  name: "doctor",
  summary: "Check a deployment: versions, clocks, database, object store, hosts, providers, images, keys",
  description:
    "Each line is ok, a warning or failed, with what to do about it. The exit code is 0 where nothing failed, else 1. With --chaos it also makes sessions of its own (label mctl-doctor=chaos, agent example) " +
    "and does to them what does no harm to anyone: cuts its own streams, repeats its own requests, answers twice, cancels, suspends and resumes; then it says what survived, and ends them.",
  options: {
    chaos: flag("try what breaks, on sessions of its own"),
    pool: text("POOL", "where --chaos makes its sessions (default: default)"),
    agent: text("AGENT", "whose sessions --chaos makes (default: example)"),
  },
  examples: [
    ["doctor", "is all well?"],
    ["doctor --chaos -o json", "for a program"],
  ],
  async run(context, _, { chaos, pool, agent }) {
    const checks: Check[] = [];
    const tell = (check: Check) => {
      checks.push(check);
      if (!context.out.structured) for (const line of shown(context, check)) context.out.line(line);
    };
    for (const check of await basics(context)) tell(check);
    if (chaos && checks.every(({ name, status }) => name !== "server" || status === "ok")) for await (const check of chaosChecks(context, { pool: pool ?? "default", agent: agent ?? "example" })) tell(check);
    const failed = checks.filter(({ status }) => status === "failed").length;
    const warnings = checks.filter(({ status }) => status === "warning").length;
    const verdict = failed > 0 ? `${failed} failed, ${warnings} to look at.` : warnings > 0 ? `Nothing failed; ${warnings} to look at.` : "All is well.";
    if (context.out.structured) context.out.one({ ok: failed === 0, checks }, () => []);
    else context.out.line(`\n${verdict}`);
    return failed > 0 ? EXIT.user : EXIT.ok;
  },
});

function shown({ out }: Context, { name, status, detail, hint }: Check): string[] {
  const [mark, style] = MARKS[status];
  return [`${out.paint(style, mark.padEnd(8))} ${out.paint("bold", oneLine(name))}: ${oneLine(detail)}`, ...(hint && status !== "ok" ? [`         → ${oneLine(hint)}`] : [])];
}

/** What this side sees: the server, its version and clock; then what it says of itself. */
async function basics(context: Context): Promise<Check[]> {
  const { url, source } = context.endpoint;
  const begun = context.io.now();
  let found: Diagnosis;
  try {
    found = await context.client.doctor();
  } catch (error) {
    const hint = error instanceof ProtocolError ? "Is this a Marionette server, and of a release that has a doctor?" : "mctl config view shows which server and key are used";
    return [{ name: "server", status: "failed", detail: `${url}: ${error instanceof Error ? error.message : String(error)}`, hint }];
  }
  const took = context.io.now() - begun;
  const skew = Math.abs(Date.parse(found.now) - (begun + took / 2));
  return [
    { name: "server", status: "ok", detail: `${url} (${source}) answers in ${took} ms` },
    found.version === RELEASE
      ? { name: "versions", status: "ok", detail: `mctl ${VERSION}, server ${found.version}, runner link ${found.links.runner}, host link ${found.links.host}` }
      : { name: "versions", status: "warning", detail: `mctl is ${VERSION}, the server ${found.version}`, hint: "Install the same release" },
    skew > SKEW_MS + took
      ? { name: "clock", status: "warning", detail: `this machine and the server differ by ${Math.round(skew / 1_000)} s`, hint: "Let both keep their time by NTP" }
      : { name: "clock", status: "ok", detail: "this machine and the server agree" },
    ...found.checks,
  ];
}
