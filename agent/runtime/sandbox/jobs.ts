/** Owns background jobs: a directory each in the sandbox, filled by a shell that outlives whoever began it. */

import { randomBytes } from "node:crypto";
import { JOB_HEAD_BYTES, JOB_TAIL_BYTES, WorkspaceError, type ExecOptions, type JobOutput, type JobStatus } from "./contracts.ts";
import { checkCommand } from "./execution.ts";
import { checkRange } from "./host-files.ts";

/** The variable by which a job's processes are found again. */
export const JOB_MARK = "MARCO_JOB";
const ID = /^job_[0-9a-f]{12}$/;
const MAX_JOBS = 200;
const READ_BYTES = 256 * 1024;
const DROPPED = "\n[… output was dropped here: it is more than is kept …]\n";

/**
 * $1 the job's directory, $2 the command, $3 bytes of the head, $4 of the tail. `dd` writes what it has read at once, so that output can be read while the
 * job runs; it is begun anew from time to time to look at the size. The code is told once all output lies there; where what the command left behind holds
 * its output open, two seconds later.
 */
const SUPERVISOR = `dir=$1
echo $$ > "$dir/pid"
if command -v bash >/dev/null 2>&1; then shell=bash; else shell=sh; fi
{
  "$shell" -c "$2" </dev/null 2>&1; echo $? > "$dir/code.partial"
  exec > /dev/null
  looks=0
  while [ ! -f "$dir/drained" ] && [ "$looks" -lt 100 ]; do
    sleep 0.02 2>/dev/null || { sleep 1; looks=$((looks + 49)); }
    looks=$((looks + 1))
  done
  mv "$dir/code.partial" "$dir/code"
} | {
  : > "$dir/head"
  size=0
  more=yes
  while [ -n "$more" ] && [ "$size" -lt "$3" ]; do
    dd bs=65536 count=32 >> "$dir/head" 2>/dev/null
    now=$(wc -c < "$dir/head")
    [ "$now" -eq "$size" ] && more=
    size=$now
  done
  [ -z "$more" ] || { tail -c "$4" > "$dir/tail.partial"; mv "$dir/tail.partial" "$dir/tail"; }
  : > "$dir/drained"
}`;

/** Prints of each job: id, bytes of the head, bytes of the tail or -, code or -, and its command's first line. The code is read first: with it, the rest is whole. */
const LISTING = `cd "$1" 2>/dev/null || exit 0
for id in job_*; do
  [ -f "$id/command" ] || continue
  [ -z "$2" ] || [ "$2" = "$id" ] || continue
  code=-; [ -f "$id/code" ] && code=$(cat "$id/code")
  head=0; [ -f "$id/head" ] && head=$(wc -c < "$id/head")
  tail=-; [ -f "$id/tail" ] && tail=$(wc -c < "$id/tail")
  printf '%s %s %s %s %s\\n' "$id" $head $tail $code "$(head -c 500 "$id/command" | tr '\\n' ' ')"
done`;

/** Prints up to $4 bytes from $3 of a file. */
const PIECE = `[ -f "$1/$2" ] || exit 0
tail -c +$(($3 + 1)) "$1/$2" | head -c "$4"`;

/** What jobs need of their sandbox. */
export interface JobHost {
  /** Where jobs have their directories. */
  readonly jobsDirectory: string;
  /** Runs a program that ends by itself soon; its output is short. */
  run(argv: string[], stdin?: Uint8Array): Promise<{ code: number | null; stdout: Buffer }>;
  /** Begins a program that nobody waits for. */
  launch(argv: string[], options: Pick<ExecOptions, "cwd" | "env">): Promise<void>;
  lives(mark: string): Promise<boolean>;
  kill(mark: string): Promise<void>;
}

interface Found extends JobStatus {
  head: number;
  tail: number | null;
}

export class Jobs {
  readonly #host: JobHost;

  constructor(host: JobHost) {
    this.#host = host;
  }

  async start(command: string, options: Pick<ExecOptions, "cwd" | "env"> = {}): Promise<JobStatus> {
    checkCommand(command, options);
    if ((await this.#listed("")).length >= MAX_JOBS) await this.#tidy();
    const id = `job_${randomBytes(6).toString("hex")}`;
    const directory = `${this.#host.jobsDirectory}/${id}`;
    const { code } = await this.#host.run(["sh", "-c", 'mkdir -p "$1" && cat > "$1/command"', "marco", directory], Buffer.from(command));
    if (code !== 0) throw new WorkspaceError("unavailable", "the job's directory cannot be made in the sandbox; is its disk full?");
    await this.#host.launch(["sh", "-c", SUPERVISOR, "marco-job", directory, command, String(JOB_HEAD_BYTES), String(JOB_TAIL_BYTES)], { ...options, env: { ...options.env, [JOB_MARK]: id } });
    return { id, command, state: "running", exit_code: null, size: 0 };
  }

  async list(): Promise<JobStatus[]> {
    return (await this.#listed("")).map(statusOf);
  }

  async read(id: string, { offset = 0, length = READ_BYTES }: { offset?: number | undefined; length?: number | undefined } = {}): Promise<JobOutput> {
    checkRange(offset, length);
    const job = await this.#job(id);
    const bytes = Buffer.concat(await this.#pieces(job, offset, Math.min(length, READ_BYTES)));
    return { ...statusOf(job), offset, bytes, next_offset: offset + bytes.length };
  }

  async kill(id: string): Promise<JobStatus> {
    await this.#job(id);
    await this.#host.kill(`${JOB_MARK}=${id}`);
    return statusOf(await this.#job(id));
  }

  /** Head, note and tail as one run of bytes. */
  async #pieces(job: Found, offset: number, length: number): Promise<Buffer[]> {
    const pieces: Buffer[] = [];
    const note = Buffer.from(DROPPED);
    const parts = [{ name: "head", size: job.head }, ...(job.tail === null ? [] : job.tail < JOB_TAIL_BYTES ? [] : [{ name: null, size: note.length }]), ...(job.tail === null ? [] : [{ name: "tail", size: job.tail }])];
    let at = offset;
    let left = length;
    for (const { name, size } of parts) {
      const take = Math.min(left, size - at);
      if (take > 0) {
        const piece = name === null ? note.subarray(at, at + take) : await this.#piece(job.id, name, at, take);
        pieces.push(piece);
        left -= piece.length;
        if (piece.length < take) return pieces;
      }
      at = Math.max(0, at - size);
    }
    return pieces;
  }

  async #piece(id: string, file: string, offset: number, length: number): Promise<Buffer> {
    const { stdout } = await this.#host.run(["sh", "-c", PIECE, "marco", `${this.#host.jobsDirectory}/${id}`, file, String(offset), String(length)]);
    return stdout;
  }

  async #job(id: string): Promise<Found> {
    if (!ID.test(id)) throw new WorkspaceError("not_found", `no background job ${JSON.stringify(id.slice(0, 100))}; ids look like job_0123456789ab`);
    const [job] = await this.#listed(id);
    if (job === undefined) throw new WorkspaceError("not_found", `no background job ${id} in this workspace`);
    return job;
  }

  async #listed(only: string): Promise<Found[]> {
    const { stdout } = await this.#host.run(["sh", "-c", LISTING, "marco", this.#host.jobsDirectory, only]);
    const found = stdout.toString().split("\n").filter(Boolean).map((line) => {
      const [id = "", head = "0", tail = "-", code = "-", ...command] = line.split(" ");
      const tailSize = tail === "-" ? null : Number(tail);
      const note = tailSize !== null && tailSize >= JOB_TAIL_BYTES ? Buffer.byteLength(DROPPED) : 0;
      return { id, command: command.join(" ").trim(), exit_code: code === "-" ? null : Number(code), head: Number(head), tail: tailSize, size: Number(head) + note + (tailSize ?? 0) };
    });
    return Promise.all(found.map(async (job) => ({ ...job, state: job.exit_code !== null ? ("exited" as const) : (await this.#host.lives(`${JOB_MARK}=${job.id}`)) ? ("running" as const) : ("lost" as const) })));
  }

  /** Makes room: jobs that have ended leave, the oldest of them too. */
  async #tidy(): Promise<void> {
    const ended = (await this.#listed("")).filter(({ state }) => state !== "running");
    if (ended.length === 0) throw new WorkspaceError("unavailable", `${MAX_JOBS} background jobs run already; kill some first`);
    await this.#host.run(["sh", "-c", 'cd "$1" && shift && rm -rf -- "$@"', "marco", this.#host.jobsDirectory, ...ended.map(({ id }) => id)]);
  }
}

function statusOf({ id, command, state, exit_code, size }: Found): JobStatus {
  return { id, command, state, exit_code, size };
}
