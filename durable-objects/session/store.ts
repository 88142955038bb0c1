/** Owns the session's tables: the state in slices, and a class per record over its own rows. */

import type { Permission, Run, Runner, Task } from "../../sdk/protocol/index.ts";
import { columns, MAX_COLUMN_CHARS, type Sql } from "../base/sql.ts";
import type { OpenCall } from "./budget.ts";
import { EMPTY, type CommandRecord, type State, type TaskRecord } from "./state.ts";

export const STORE_TABLES: readonly string[] = [
  "create table slices (name text primary key, value text not null)",
  "create table env (name text primary key, value text not null)",
  "create table tasks (id text primary key, live integer not null, place integer not null, value text not null)",
  "create index live_tasks on tasks (place) where live = 1",
  "create table prompts (task_id text not null, part integer not null, text text not null, primary key (task_id, part))",
  "create table runs (id text primary key, task_id text not null, attempt integer not null, value text not null)",
  "create index runs_of_task on runs (task_id, attempt)",
  "create table permissions (id text primary key, run_id text not null, live integer not null, value text not null)",
  "create index live_permissions on permissions (run_id) where live = 1",
  "create table runners (id text primary key, value text not null)",
  "create table commands (id integer primary key, value text not null)",
  "create table outbox (resource text not null, id text not null, version integer not null, primary key (resource, id))",
  "create table cursors (name text primary key, seq integer not null)",
];

type Value = { value: string };
type Rows = { toArray(): Value[] };
/** Records come out as they were put in; what is stored is ours. */
const many = (rows: Rows): unknown[] => rows.toArray().map(({ value }): unknown => JSON.parse(value));
const one = (rows: Rows): unknown => many(rows)[0] ?? null;

type Pair = [name: string, json: string];
/** Slices are stored as a whole, each when it is another object than before. */
const SLICES = ["session", "rules", "usage", "running", "approvals", "attachment", "position", "chores", "counters", "suspending", "capsule", "reading", "restore", "before", "schedule"] as const;

/** A model call under way is a row of its own beside the slices: that one begins or ends does not write the others again. */
const CALL = "call:";
type Gateway = State["gateway"];

export class States {
  readonly #sql: Sql;
  constructor(sql: Sql) {
    this.#sql = sql;
  }
  load(tasks: Tasks, commands: Commands, permissions: Permissions): State {
    const rows = this.#sql.exec<Value & { name: string }>("select name, value from slices order by rowid").toArray().map(({ name, value }) => [name, JSON.parse(value) as unknown] as const);
    const slices = Object.fromEntries(rows.filter(([name]) => !name.startsWith(CALL))) as Partial<State>;
    const calls = rows.filter(([name]) => name.startsWith(CALL)).map(([, call]) => call as OpenCall);
    const { gateway = EMPTY.gateway } = slices;
    // An earlier version kept them within the slice.
    if (gateway.calls.length > 0) this.#write(this.#gateway({ ...gateway, calls: [] }, { ...gateway, caps: gateway.caps && { ...gateway.caps } }));
    return { ...EMPTY, ...slices, gateway: { ...gateway, calls: [...gateway.calls, ...calls] }, queue: tasks.pending(), commands: commands.all(), permissions: permissions.pending() };
  }
  save(before: State, after: State): void {
    const changed = SLICES.filter((name) => before[name] !== after[name]).map((name): Pair => [name, JSON.stringify(after[name])]);
    if (before.gateway !== after.gateway) changed.push(...this.#gateway(before.gateway, after.gateway));
    this.#write(changed);
  }

  /** What is to be written; what has ended is deleted. */
  #gateway(before: Gateway, after: Gateway): Pair[] {
    const names = Object.keys(after) as (keyof Gateway)[];
    const changed: Pair[] = names.some((name) => name !== "calls" && before[name] !== after[name]) ? [["gateway", JSON.stringify({ ...after, calls: [] })]] : [];
    if (before.calls === after.calls) return changed;
    const [stored, open] = [new Set(before.calls), new Set(after.calls.map(({ id }) => id))];
    for (const call of after.calls) if (!stored.has(call)) changed.push([CALL + call.id, JSON.stringify(call)]);
    for (const { id } of before.calls) if (!open.has(id)) this.#sql.exec("delete from slices where name = ?", CALL + id);
    return changed;
  }
  #write(pairs: readonly Pair[]): void {
    if (pairs.length === 0) return;
    const values = JSON.stringify(pairs);
    if (values.length > MAX_COLUMN_CHARS) return pairs.forEach((pair) => this.#put(JSON.stringify([pair])));
    this.#put(values);
  }
  #put(pairs: string): void {
    this.#sql.exec("insert into slices select value ->> 0, value ->> 1 from json_each(?) where true on conflict (name) do update set value = excluded.value", pairs);
  }
}

export class Tasks {
  readonly #sql: Sql;
  constructor(sql: Sql) {
    this.#sql = sql;
  }
  put(task: TaskRecord): void {
    this.#sql.exec(
      "insert into tasks values (?1, ?2, ?3, ?4) on conflict (id) do update set live = ?2, place = ?3, value = ?4",
      task.id, task.status === "pending" ? 1 : 0, task.order, JSON.stringify(task),
    );
  }
  get(id: string): TaskRecord | null {
    return one(this.#sql.exec<Value>("select value from tasks where id = ?", id)) as TaskRecord | null;
  }
  /** The task as clients see it, with its prompt. */
  read(id: string): Task | null {
    const record = this.get(id);
    if (!record) return null;
    const { order: _, resume: __, interrupted: ___, interruptions: ____, losses: _____, ...task } = record;
    return { ...task, prompt: this.prompt(id) };
  }
  pending(): TaskRecord[] {
    return many(this.#sql.exec<Value>("select value from tasks where live = 1 order by place")) as TaskRecord[];
  }
  putPrompt(taskId: string, prompt: string): void {
    columns(prompt).forEach((text, part) => this.#sql.exec("insert or ignore into prompts values (?, ?, ?)", taskId, part, text));
  }
  prompt(taskId: string): string {
    return this.#sql.exec<{ text: string }>("select text from prompts where task_id = ? order by part", taskId).toArray().map(({ text }) => text).join("");
  }
}

export class Runs {
  readonly #sql: Sql;
  constructor(sql: Sql) {
    this.#sql = sql;
  }
  put(run: Run): void {
    this.#sql.exec("insert into runs values (?1, ?2, ?3, ?4) on conflict (id) do update set value = ?4", run.id, run.task_id, run.attempt, JSON.stringify(run));
  }
  get(id: string): Run | null {
    return one(this.#sql.exec<Value>("select value from runs where id = ?", id)) as Run | null;
  }
  of(taskId: string): Run[] {
    return many(this.#sql.exec<Value>("select value from runs where task_id = ? order by attempt", taskId)) as Run[];
  }
}

export class Permissions {
  readonly #sql: Sql;
  constructor(sql: Sql) {
    this.#sql = sql;
  }
  put(permission: Permission): void {
    this.#sql.exec("insert or ignore into permissions values (?, ?, 1, ?)", permission.id, permission.run_id, JSON.stringify(permission));
  }
  /** Answers the new version. */
  end(id: string, status: Permission["status"], decision: Permission["decision"], at: string): number {
    const permission = this.get(id);
    if (!permission) return 0;
    const value: Permission = { ...permission, status, decision, ended_at: at, version: permission.version + 1 };
    this.#sql.exec("update permissions set live = 0, value = ? where id = ?", JSON.stringify(value), id);
    return value.version;
  }
  /** Another run of its task asks it now. Answers the new version. */
  move(id: string, run_id: string): number {
    const permission = this.get(id);
    if (!permission) return 0;
    const value: Permission = { ...permission, run_id, version: permission.version + 1 };
    this.#sql.exec("update permissions set run_id = ?, value = ? where id = ?", run_id, JSON.stringify(value), id);
    return value.version;
  }
  get(id: string): Permission | null {
    return one(this.#sql.exec<Value>("select value from permissions where id = ?", id)) as Permission | null;
  }
  pending(): State["permissions"] {
    const live = many(this.#sql.exec<Value>("select value from permissions where live = 1 order by rowid")) as Permission[];
    return live.map(({ id, run_id, task_id }) => ({ id, run_id, task_id }));
  }
}

export class Runners {
  readonly #sql: Sql;
  constructor(sql: Sql) {
    this.#sql = sql;
  }
  put(runner: Runner): void {
    this.#sql.exec("insert or replace into runners values (?, ?)", runner.id, JSON.stringify(runner));
  }
  get(id: string): Runner | null {
    return one(this.#sql.exec<Value>("select value from runners where id = ?", id)) as Runner | null;
  }
}

/** Commands of the current attachment that its runner has not journalled. */
export class Commands {
  readonly #sql: Sql;
  constructor(sql: Sql) {
    this.#sql = sql;
  }
  put(command: CommandRecord): void {
    this.#sql.exec("insert or replace into commands values (?, ?)", command.id, JSON.stringify(command));
  }
  drop(upTo: number): void {
    this.#sql.exec("delete from commands where id <= ?", upTo);
  }
  all(): CommandRecord[] {
    return many(this.#sql.exec<Value>("select value from commands order by id")) as CommandRecord[];
  }
}

/** The agent's environment: a row a variable, as all of it may be larger than a row. */
export class Env {
  readonly #sql: Sql;
  constructor(sql: Sql) {
    this.#sql = sql;
  }
  put(env: Readonly<Record<string, string>>): void {
    for (const [name, value] of Object.entries(env)) this.#sql.exec("insert or ignore into env values (?, ?)", name, value);
  }
  all(): Record<string, string> {
    return Object.fromEntries(this.#sql.exec<{ name: string; value: string }>("select name, value from env").toArray().map(({ name, value }) => [name, value]));
  }
}
