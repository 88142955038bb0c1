/** Owns the form that makes a schedule: what is to be done and when, and the session that does it. */

import { useState } from "preact/hooks";
import type { Schedule } from "../../../sdk/index.ts";
import { client } from "../client.ts";
import { begun, paramsOf, rememberAgent, type Wanted } from "../store/wanted.ts";
import { Dialog } from "./dialog.tsx";
import { wordsOf } from "./notices.tsx";
import { ProfileField } from "./profile-field.tsx";
import { AgentField, agentOf, LimitFields, MoreFields, useKnown } from "./session-fields.tsx";

const TIMES = [
  { cron: "@hourly", name: "Every hour" }, { cron: "0 9 * * *", name: "Every day at 9" }, { cron: "0 9 * * MON-FRI", name: "On weekdays at 9" }, { cron: "0 9 * * MON", name: "On Mondays at 9" }, { cron: "0 3 1 * *", name: "On the first of the month at 3" },
] as const;
const ZONES = Intl.supportedValuesOf("timeZone");
const OWN_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const USUAL_FAILURES = "5";

export function ScheduleForm({ onClose, onMade }: { onClose: () => void; onMade: (made: Schedule) => void }) {
  const known = useKnown();
  const [fields, setFields] = useState(begun);
  const [prompt, setPrompt] = useState("");
  const [cron, setCron] = useState<string>(TIMES[1].cron);
  const [timezone, setTimezone] = useState(OWN_ZONE);
  const [goesOn, setGoesOn] = useState(false);
  const [pauses, setPauses] = useState(false);
  const [failures, setFailures] = useState(USUAL_FAILURES);
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState<string | null>(null);
  const set = (patch: Partial<Wanted>) => setFields((before) => ({ ...before, ...patch }));
  const agent = agentOf(fields, known);
  const usual = TIMES.some((each) => each.cron === cron);

  async function make(): Promise<void> {
    setBusy(true);
    setFault(null);
    try {
      const made = await client.schedules.create({ ...paramsOf({ ...fields, agent }), prompt: prompt.trim(), cron: cron.trim(), timezone: timezone.trim(), continue: goesOn, pause_on_failure: pauses, disable_on_failure: failures === "" ? null : Number(failures) });
      rememberAgent(agent);
      onMade(made);
    } catch (error) {
      setFault(wordsOf(error));
      setBusy(false);
    }
  }
  return (
    <Dialog title="New schedule" onClose={onClose}>
      <form class="stack" onSubmit={(event) => { event.preventDefault(); void make(); }}>
        <AgentField fields={fields} set={set} known={known} />
        <label>Prompt<textarea rows={4} value={prompt} onInput={(event) => setPrompt(event.currentTarget.value)} placeholder="What shall the agent do each time?" required autofocus /></label>
        <div class="columns">
          <label>When<select value={usual ? cron : ""} onChange={(event) => setCron(event.currentTarget.value)}>{TIMES.map((each) => <option key={each.cron} value={each.cron}>{each.name}</option>)}<option value="">As I write it</option></select></label>
          <label>Cron expression<input class="mono" value={cron} onInput={(event) => setCron(event.currentTarget.value)} placeholder="minute hour day month weekday" required maxLength={200} spellcheck={false} /></label>
          <label>Time zone<input list="time-zones" value={timezone} onInput={(event) => setTimezone(event.currentTarget.value)} required spellcheck={false} /><datalist id="time-zones">{ZONES.map((zone) => <option key={zone} value={zone} />)}</datalist></label>
          <label>Conversation<select value={goesOn ? "on" : "fresh"} onChange={(event) => setGoesOn(event.currentTarget.value === "on")}><option value="fresh">A fresh one each time</option><option value="on">Goes on</option></select></label>
          <label>Ends after failures in a row<input type="number" min="1" max="1000" value={failures} onInput={(event) => setFailures(event.currentTarget.value)} placeholder="never" /></label>
        </div>
        <label class="row check"><input type="checkbox" checked={pauses} onChange={(event) => setPauses(event.currentTarget.checked)} /> Pause as soon as a run fails</label>
        <LimitFields fields={fields} set={set} known={known} />
        <MoreFields fields={fields} set={set} known={known} clocked />
        <ProfileField fields={{ ...fields, agent }} onFields={setFields} />
        {(fault ?? known.fault) !== null && <p class="field-fault" role="alert">{fault ?? known.fault}</p>}
        <div class="dialog-foot"><button type="button" onClick={onClose}>Cancel</button><button type="submit" class="primary" disabled={busy || agent === "" || prompt.trim() === ""}>{busy ? "Making it …" : "Make the schedule"}</button></div>
      </form>
    </Dialog>
  );
}
