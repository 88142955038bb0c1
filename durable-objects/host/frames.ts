/** Owns the parsing of what reaches a HostObject from outside: the join that the worker vouches for, and the answers to file calls. */

import * as z from "zod";
import { fail, idOf, invalid, labels, ok, slug, type Result } from "../../sdk/protocol/index.ts";
import type { HostJoin } from "../rpc.ts";

/** The header by which the worker says who joins, having checked the runner token. */
export const HOST_HEADER = "x-marionette-host";

const hostJoin = z.strictObject({ tenant_id: idOf("tenant"), host_id: idOf("host"), pool: slug, labels });

/** Who joins; `not_found` where the host belongs to another tenant. */
export function joinOf(request: Request, known: HostJoin | null): Result<HostJoin> {
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") return fail("bad_request", "expected a WebSocket upgrade");
  let said: unknown;
  try {
    said = JSON.parse(request.headers.get(HOST_HEADER) ?? "");
  } catch {
    return fail("bad_request", `${HOST_HEADER}: not JSON`);
  }
  const join = hostJoin.safeParse(said);
  if (!join.success) return { ok: false, error: invalid(join.error, HOST_HEADER).toBody() };
  if (known && (known.tenant_id !== join.data.tenant_id || known.host_id !== join.data.host_id)) return fail("not_found", "No host of that id here");
  return ok(join.data);
}

/** A daemon's answer to a file call. */
export function fileAnswer<T>(value: z.ZodType<T>) {
  return z.discriminatedUnion("ok", [
    z.object({ ok: z.literal(true), value }),
    z.object({ ok: z.literal(false), code: z.enum(["not_found", "bad_request", "payload_too_large"]), message: z.string().max(4_096) }),
  ]);
}
