/** Owns the choice of a profile: the form's settings under a name, kept in this browser. */

import { useState } from "preact/hooks";
import { NOTHING, profiles, type Wanted } from "../store/wanted.ts";

export function ProfileField({ fields, onFields }: { fields: Wanted; onFields: (fields: Wanted) => void }) {
  const [chosen, setChosen] = useState("");
  const [name, setName] = useState<string | null>(null);
  const names = Object.keys(profiles.value).sort();
  function keep(): void {
    const at = name?.trim();
    if (!at) return;
    profiles.value = { ...profiles.value, [at]: fields };
    setChosen(at);
    setName(null);
  }
  function forget(): void {
    profiles.value = Object.fromEntries(Object.entries(profiles.value).filter(([each]) => each !== chosen));
    setChosen("");
  }
  if (name !== null) {
    return (
      <div class="row">
        <input class="spread" aria-label="Name of the profile" value={name} maxLength={60} autofocus onInput={(event) => setName(event.currentTarget.value)} onKeyDown={(event) => { if (event.key === "Enter") { event.preventDefault(); keep(); } }} />
        <button type="button" disabled={!name.trim()} onClick={keep}>Keep it</button><button type="button" class="quiet" onClick={() => setName(null)}>Back</button>
      </div>
    );
  }
  return (
    <div class="row profile-field">
      <label class="spread">Profile
        <select value={chosen} onChange={(event) => { const next = event.currentTarget.value; setChosen(next); onFields(profiles.value[next] ?? { ...NOTHING, agent: fields.agent }); }}>
          <option value="">None</option>{names.map((each) => <option key={each} value={each}>{each}</option>)}
        </select>
      </label>
      <button type="button" class="quiet" onClick={() => setName(chosen)}>Keep these settings …</button>
      {chosen !== "" && <button type="button" class="quiet" onClick={forget}>Forget it</button>}
    </div>
  );
}
