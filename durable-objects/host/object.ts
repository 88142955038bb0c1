/** Owns the wiring of the HostObject: constructor, fetch, RPC, alarm. */

import { DurableObject } from "cloudflare:workers";
import * as z from "zod";
import {
  browsed, CLOSE, fail, fileContent, fileEntry, HOST_LINK_VERSION, ok, resumed, spawned, suspended, transcribeAnswer,
  type AudioPiece, type Browsed, type FileContent, type FileEntry, type Host, type HostHello, type HostWelcome, type Result, type Resumed, type RunnerReport, type Spawned, type SpawnSpec,
  type Suspended, type SuspendStrategy, type TranscribeAnswer,
} from "../../sdk/protocol/index.ts";
import { alarmMove, earliest } from "../base/deadlines.ts";
import { poolStub, sessionStub, type ObjectsEnv, type PortsOf } from "../ports.ts";
import type { Actor, HostJoin, HostRpc } from "../rpc.ts";
import { Telling, type HostNeighbours } from "./effects.ts";
import { fileAnswer, joinOf } from "./frames.ts";
import { DaemonLink, type LinkListener } from "./link.ts";
import { hostOf, running, step, type Effect, type HostEvent, type State } from "./machine.ts";
import { HostStore } from "./store.ts";

/** While a daemon is connected, the object is woken so often: where it died with its runtime and the daemon never comes back, nobody else would find out. */
const LOOK_MS = 30_000;

/** The class to export from the worker's entry; `portsOf` gives it what lies above it, `neighbours` the objects beside it. */
export function hostObject<Env extends ObjectsEnv>(portsOf: PortsOf<Env>, neighbours: HostNeighbours<Env> = { session: sessionStub, pool: poolStub }) {
  return class HostObject extends DurableObject<Env> implements HostRpc {
    readonly #store: HostStore;
    readonly #telling: Telling;
    #state: State;
    #link: DaemonLink | null = null;
    #alarm: number | null = null;

    constructor(ctx: DurableObjectState, env: Env) {
      super(ctx, env);
      this.#store = new HostStore(ctx.storage);
      this.#state = this.#store.load();
      this.#telling = new Telling({
        storage: ctx.storage, projection: { apply: (rows) => portsOf(env).projection.apply(rows) },
        session: (id) => neighbours.session(env, id), pool: (tenantId, pool) => neighbours.pool(env, tenantId, pool),
        state: () => this.#state, defer: (work) => ctx.waitUntil(work), settled: () => this.#carry(Date.now()),
      });
      void ctx.blockConcurrencyWhile(async () => {
        this.#alarm = await ctx.storage.getAlarm();
        // A Cap'n Web session does not outlive the memory that holds it: whoever was connected is not, and comes back.
        this.#step({ type: "link.down" });
      });
    }

    override async fetch(request: Request): Promise<Response> {
      const join = joinOf(request, this.#state.join);
      if (!join.ok) return Response.json({ error: join.error }, { status: join.error.code === "not_found" ? 404 : 400 });
      const [client, server] = Object.values(new WebSocketPair()) as [WebSocket, WebSocket];
      // The connection that is there stays until the new one has said a proper hello.
      void new DaemonLink(server, this.#listener(join.value));
      return new Response(null, { status: 101, webSocket: client });
    }

    async read(actor: Actor): Promise<Result<Host>> {
      return this.#owned(actor);
    }

    async spawn(spec: SpawnSpec): Promise<Result<Spawned>> {
      const { runner_id, session_id, epoch, provider } = spec;
      if (this.#state.join && this.#state.join.tenant_id !== spec.tenant_id) return fail("not_found", "No host of that id here");
      const link = this.#link;
      if (!link) return this.#away();
      this.#step({ type: "spawn", runner_id, session_id, epoch, provider });
      try {
        const answer = await link.call("spawn", [spec], spawned);
        // Destroyed while it started: the daemon may not have known it yet when it was told.
        if (answer.ok && !this.#state.runners.has(runner_id)) this.#step({ type: "destroy", runner_id, reason: "destroyed while it started" });
        else this.#step({ type: "spawned", runner_id, answer });
        return ok(answer);
      } catch {
        return this.#away();
      }
    }

    async destroy(runnerId: string, reason: string): Promise<void> {
      this.#step({ type: "destroy", runner_id: runnerId, reason });
    }

    async forget(sessionId: string): Promise<void> {
      this.#step({ type: "forget", session_id: sessionId });
    }

    async suspend(runnerId: string, strategy: SuspendStrategy, fallback: SuspendStrategy | null): Promise<Result<Suspended>> {
      if (!this.#link) return this.#away();
      // Nothing of it is wanted here any more: what there was, its daemon has ended.
      if (!this.#state.runners.has(runnerId)) return ok({ ok: false, error: { code: "runner_lost", message: "its host does not have this runner any more" } });
      try {
        const answer = await this.#link.call("suspend", [runnerId, strategy, fallback], suspended);
        const held = answer.ok && (answer.strategy === "pause" || answer.strategy === "snapshot");
        if (held) this.#step({ type: "held", runner_id: runnerId, suspended: true });
        else if (answer.ok) this.#step({ type: "ended", runner_id: runnerId, reason: `suspended: ${answer.strategy}` });
        return ok(answer);
      } catch {
        return this.#away();
      }
    }

    async resume(runnerId: string): Promise<Result<Resumed>> {
      if (!this.#link) return this.#away();
      if (!this.#state.runners.has(runnerId)) return ok({ ok: false, gone: true, error: { code: "runner_lost", message: "its host does not have this runner any more" } });
      try {
        const answer = await this.#link.call("resume", [runnerId], resumed);
        if (answer.ok) this.#step({ type: "held", runner_id: runnerId, suspended: false });
        return ok(answer);
      } catch {
        return this.#away();
      }
    }

    async discardFiles(sessionId: string, workspaceId: string): Promise<void> {
      this.#step({ type: "discard", session_id: sessionId, workspace_id: workspaceId });
    }

    async drain(actor: Actor, draining: boolean): Promise<Result<Host>> {
      const host = this.#owned(actor);
      if (!host.ok) return host;
      this.#step({ type: "drain", draining });
      return this.#owned(actor);
    }

    async listFiles(actor: Actor, workspaceId: string, path: string): Promise<Result<FileEntry[]>> {
      return this.#files(actor, "listFiles", [workspaceId, path], z.array(fileEntry));
    }

    async readFile(actor: Actor, workspaceId: string, path: string, offset: number, length: number): Promise<Result<FileContent>> {
      return this.#files(actor, "readFile", [workspaceId, path, offset, length], fileContent);
    }

    async browse(actor: Actor, root: string, path: string, offset: number, limit: number): Promise<Result<Browsed>> {
      return this.#files(actor, "browse", [root, path, offset, limit], browsed);
    }

    async readBrowsed(actor: Actor, root: string, path: string, offset: number, length: number): Promise<Result<FileContent>> {
      return this.#files(actor, "readBrowsed", [root, path, offset, length], fileContent);
    }

    async transcribe(actor: Actor, piece: AudioPiece): Promise<Result<TranscribeAnswer>> {
      const host = this.#owned(actor);
      if (!host.ok) return host;
      try {
        const answer = await this.#link?.call("transcribe", [piece], transcribeAnswer);
        return answer ? ok(answer) : this.#away();
      } catch {
        return this.#away();
      }
    }

    async runners(actor: Actor): Promise<Result<RunnerReport[]>> {
      const host = this.#owned(actor);
      if (!host.ok) return host;
      return ok(running(this.#state));
    }

    override async alarm(): Promise<void> {
      this.#alarm = null;
      this.#carry(Date.now());
    }

    #owned(actor: Actor): Result<Host> {
      const host = hostOf(this.#state);
      return host && host.tenant_id === actor.tenant_id ? ok(host) : fail("not_found", "No host of that id here");
    }

    #away() {
      const name = this.#state.info?.name ?? "of the session";
      return fail("unavailable", `host ${name} is not connected`, { hint: "Start its daemon, or look why it cannot reach the control plane: marionette-agent" });
    }

    async #files<T>(actor: Actor, method: "listFiles" | "readFile" | "browse" | "readBrowsed", args: unknown[], value: z.ZodType<T>): Promise<Result<T>> {
      const host = this.#owned(actor);
      if (!host.ok) return host;
      try {
        const answer = await this.#link?.call(method, args, fileAnswer(value));
        if (!answer) return this.#away();
        return answer.ok ? ok(answer.value) : fail(answer.code, answer.message);
      } catch {
        return this.#away();
      }
    }

    #listener(join: HostJoin): LinkListener {
      return {
        hello: (link, { info, runners, clock }: HostHello): HostWelcome => {
          const old = this.#link;
          this.#link = link;
          old?.close(CLOSE.replaced, "another connection of this host took over");
          const effects = this.#step({ type: "hello", join, info, reports: runners, clock });
          const destroy = effects.flatMap((effect) => (effect.kind === "welcome" ? effect.destroy : []));
          return { version: HOST_LINK_VERSION, host_id: join.host_id, destroy };
        },
        report: (link, report) => void (link === this.#link && this.#step({ type: "report", report })),
        update: (link, info) => void (link === this.#link && this.#step({ type: "update", info })),
        closed: (link) => {
          if (link !== this.#link) return;
          this.#link = null;
          this.#step({ type: "link.down" });
        },
      };
    }

    #step(event: HostEvent): Effect[] {
      const now = Date.now();
      const result = step(this.#state, event, now);
      if (result.state !== this.#state || result.effects.length > 0) {
        this.ctx.storage.transactionSync(() => {
          this.#store.save(result);
          for (const effect of result.effects) this.#telling.post(effect, now);
        });
      }
      this.#state = result.state;
      for (const effect of result.effects) if (effect.kind === "daemon.destroy" || effect.kind === "daemon.forget" || effect.kind === "daemon.discard") this.ctx.waitUntil(this.#order(effect));
      this.#carry(now);
      return result.effects;
    }

    /** What is not heard now is made up for at the next hello. */
    async #order(effect: Extract<Effect, { kind: "daemon.destroy" | "daemon.forget" | "daemon.discard" }>): Promise<void> {
      try {
        if (effect.kind === "daemon.destroy") {
          await this.#link?.call("destroy", [effect.runner_id, effect.reason], z.unknown());
          for (const discard of this.#state.discards) await this.#order({ kind: "daemon.discard", ...discard });
        } else if (effect.kind === "daemon.discard") {
          // Given up meanwhile: the session has a runner here again.
          if (!this.#link || !this.#state.discards.some(({ session_id }) => session_id === effect.session_id)) return;
          await this.#link.call("discardFiles", [effect.session_id, effect.workspace_id], z.unknown());
          this.#step({ type: "discarded", session_id: effect.session_id });
        } else if (this.#link) {
          await this.#link.call("forget", [effect.session_id], z.unknown());
          this.#step({ type: "forgotten", session_id: effect.session_id });
        }
      } catch {
        // The link has ended itself, or the files are in use: tried again when their runner has ended, and at the next hello.
      }
    }

    #carry(now: number): void {
      this.#telling.run(now);
      const move = alarmMove(this.#alarm, earliest(this.#telling.next(now), this.#link && now + LOOK_MS), now);
      if (move === null) return;
      this.#alarm = move;
      this.ctx.waitUntil(this.ctx.storage.setAlarm(move));
    }
  };
}
