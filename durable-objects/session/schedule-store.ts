/** Owns the prompt of a session's schedule, in the table of prompts under the schedule's id, from which every run's task gets its copy. */

import { columns, type Sql } from "../base/sql.ts";

export class SchedulePrompts {
  readonly #sql: Sql;
  constructor(sql: Sql) {
    this.#sql = sql;
  }
  put(scheduleId: string, prompt: string): void {
    this.#sql.exec("delete from prompts where task_id = ?", scheduleId);
    columns(prompt).forEach((text, part) => this.#sql.exec("insert into prompts values (?, ?, ?)", scheduleId, part, text));
  }
  get(scheduleId: string): string {
    return this.#sql.exec<{ text: string }>("select text from prompts where task_id = ? order by part", scheduleId).toArray().map(({ text }) => text).join("");
  }
  /** As it is now: a run that is under way keeps its own. */
  giveTo(taskId: string, scheduleId: string): void {
    this.#sql.exec("insert or ignore into prompts select ?, part, text from prompts where task_id = ?", taskId, scheduleId);
  }
}
