/** Owns the route on which a deployment looks at itself: what only it can see, each with what to do where it is not well. */

import { createRoute } from "@hono/zod-openapi";
import { tenantStub } from "../../durable-objects/index.ts";
import { diagnosis, HOST_LINK_VERSION, RELEASE, RUNNER_LINK_VERSION, type Check, type Host } from "../../sdk/protocol/index.ts";
import { reach } from "../calls.ts";
import { actorOf, type App, type Ctx } from "../context.ts";
import { answers, failures, keyed, named } from "../openapi.ts";
import { storageOf } from "../storage/storage.ts";

const Diagnosis = named("Diagnosis", diagnosis);
const doctor = createRoute({
  method: "get", path: "/doctor", tags: ["health"], ...keyed("read"), summary: "Look whether the deployment is well",
  description: "Database, object store, keys and objects are tried out; hosts, their providers, images and agents are read. Every check says what to do where it is not ok.",
  responses: { 200: answers(Diagnosis, "What was found"), ...failures() },
});

/** Longest that one check may take. */
const WITHIN_MS = 5_000;
/** A clock that is off by more makes times in lists and logs misleading. */
const SKEW_MS = 2_000;
const SOON_MS = 7 * 86_400_000;
const MAX_HOSTS = 200;

type Found = Omit<Check, "name">;

/** Looks within bounds; what throws is a failed check with the words of the failure. */
async function looked(name: string, hint: string, look: () => Promise<Found>): Promise<Check> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${WITHIN_MS / 1_000} s`)), WITHIN_MS);
  try {
    return { name, ...(await Promise.race([look(), promise])) };
  } catch (error) {
    return { name, status: "failed", detail: (error instanceof Error ? error.message : String(error)).slice(0, 1_000), hint };
  } finally {
    clearTimeout(timer);
  }
}
async function timed<T>(work: () => Promise<T>): Promise<{ value: T; ms: number }> {
  const begun = Date.now();
  return { value: await work(), ms: Date.now() - begun };
}

async function database(c: Ctx): Promise<Found> {
  const { value, ms } = await timed(() => c.get("records").clock());
  const skew = Math.abs(value.getTime() - Date.now());
  if (skew > SKEW_MS + ms) return { status: "warning", detail: `answers in ${ms} ms; its clock is off by ${Math.round(skew / 1_000)} s`, hint: "Let the database's machine keep its time by NTP" };
  return { status: "ok", detail: `answers in ${ms} ms` };
}

/** A small sealed object goes in, comes back and is taken away. */
async function objectStore(c: Ctx): Promise<Found> {
  const { objects, dataKey } = storageOf(c.env, c.get("records"));
  const { tenant_id } = actorOf(c);
  const name = `doctor/${tenant_id}/${c.get("request_id")}`;
  const { ms } = await timed(async () => {
    const key = await dataKey(tenant_id);
    await objects.put(name, await key.seal(name, new TextEncoder().encode(name)));
    const back = await objects.get(name);
    const text = back && new TextDecoder().decode(await key.open(name, await back.bytes()));
    await objects.delete([name]);
    if (text !== name) throw new Error("what was put does not come back as it was");
  });
  return { status: "ok", detail: `${objects.kind}: sealed, put, read back and deleted in ${ms} ms` };
}

async function ownKey(c: Ctx): Promise<Found> {
  const { tenant_id, key_id } = actorOf(c);
  const key = await c.get("records").access.key(tenant_id, key_id);
  if (!key?.expires_at) return { status: "ok", detail: `${key?.name ?? key_id}, without an end; may ${key?.scopes.join(", ") ?? "?"}` };
  const left = Date.parse(key.expires_at) - Date.now();
  return left < SOON_MS ? { status: "warning", detail: `${key.name} expires ${key.expires_at}`, hint: "mctl keys create makes another" } : { status: "ok", detail: `${key.name} expires ${key.expires_at}` };
}

async function dataKeys(c: Ctx): Promise<Found> {
  const { version } = await storageOf(c.env, c.get("records")).dataKey(actorOf(c).tenant_id);
  return { status: "ok", detail: `the tenant's data key opens; version ${version}` };
}

/** A host's providers and agents; one line each only where something is wrong. */
function ofHost({ name, status, daemon_version, clock_skew_ms = 0, providers, agents, default_provider, last_seen_at, runners, max_runners }: Host): Check[] {
  const checks: Check[] = [];
  const usable = providers.find((provider) => provider.name === default_provider);
  const state: Found =
    status === "offline" ? { status: "warning", detail: `offline since ${last_seen_at}${runners === 0 ? "" : `, with ${runners} runner${runners === 1 ? "" : "s"}`}`, hint: `Start its daemon; its journal or unit's log says why it ended${runners === 0 ? "" : ". A session whose runner is held there goes on from its capsule when it is resumed elsewhere"}` }
    : status === "draining" ? { status: "warning", detail: "takes no new runners", hint: "mctl hosts undrain lets it work again" }
    : { status: "ok", detail: `online, ${runners} of ${max_runners} runners, ${default_provider}: ${usable?.detail ?? ""}` };
  checks.push({ name: `host ${name}`, ...state, detail: state.detail.slice(0, 1_000) });
  if (status === "offline") return checks;
  if (daemon_version !== undefined && daemon_version !== RELEASE) checks.push({ name: `host ${name}: version`, status: "warning", detail: `${daemon_version}, the control plane is ${RELEASE}`, hint: "Install the same release on both; one version back is understood" });
  if (Math.abs(clock_skew_ms) > SKEW_MS) checks.push({ name: `host ${name}: clock`, status: "warning", detail: `was ${Math.round(Math.abs(clock_skew_ms) / 1_000)} s ${clock_skew_ms > 0 ? "ahead" : "behind"} when it last connected`, hint: "Let the machine keep its time by NTP: what happens in its sandboxes is told with its time" });
  for (const provider of providers) {
    if (provider.available) continue;
    // The one that sessions get by themselves must work; another may be missing on purpose.
    const wanted = provider.name === default_provider;
    checks.push({ name: `host ${name}: ${provider.name}`, status: wanted ? "failed" : "ok", detail: `not available: ${provider.detail}`.slice(0, 1_000), ...(wanted && { hint: "Do what it says, or choose another default in marionette.yaml" }) });
  }
  if (!agents.some(({ available }) => available)) checks.push({ name: `host ${name}: agents`, status: "failed", detail: "no agent can be started here", hint: agents[0]?.detail.slice(0, 1_000) ?? "Register one in marionette.yaml" });
  return checks;
}

async function hosts(c: Ctx): Promise<Check[]> {
  const { items } = await c.get("records").lists.hosts(actorOf(c).tenant_id, { limit: MAX_HOSTS });
  const online = items.filter(({ status }) => status === "online");
  const first: Check = online.length > 0
    ? { name: "hosts", status: "ok", detail: `${online.length} of ${items.length} online` }
    : { name: "hosts", status: "failed", detail: items.length === 0 ? "none has ever joined" : `all ${items.length} are away`, hint: "mctl hosts token create, then start a daemon with it" };
  return [first, ...items.flatMap(ofHost)];
}

export function doctorRoutes(app: App): void {
  app.openapi(doctor, async (c) => {
    const { tenant_id } = actorOf(c);
    const master = /^[0-9a-f]{64}$/i.test(c.env.MARIONETTE_ENCRYPTION_KEY ?? "");
    const [objects, ...rest] = await Promise.all([
      looked("objects", "The runtime restarts them; if it goes on, look at the worker's log", async () => {
        const { ms } = await timed(() => reach(() => tenantStub(c.env, tenant_id).readBus({ limit: 1 })));
        return { status: "ok", detail: `the tenant's object answers in ${ms} ms` };
      }),
      looked("database", "Is MARIONETTE_DATABASE_URL right, and Postgres up? Sessions go on meanwhile; lists and keys wait", () => database(c)),
      looked("object store", "Is the bucket bound (or S3 configured), and may the worker read, write and delete there?", () => objectStore(c)),
      looked("encryption key", "Set MARIONETTE_ENCRYPTION_KEY to 32 bytes in hex; without the right one nothing that was sealed opens", async () => {
        if (!master) throw new Error("MARIONETTE_ENCRYPTION_KEY is not 32 bytes in hex");
        return { status: "ok", detail: "is set" };
      }),
      looked("data key", "Is MARIONETTE_ENCRYPTION_KEY the one that wrapped it?", () => dataKeys(c)),
      looked("API key", "mctl keys list shows what there is", () => ownKey(c)),
    ]);
    const machines = await hosts(c).catch((error: unknown): Check[] => [{ name: "hosts", status: "failed", detail: `cannot be listed: ${error instanceof Error ? error.message.slice(0, 300) : ""}`, hint: "They are kept in the database" }]);
    const checks = [objects, ...rest, ...machines];
    return c.json({ version: RELEASE, links: { runner: RUNNER_LINK_VERSION, host: HOST_LINK_VERSION }, now: new Date().toISOString(), checks }, 200);
  });
}
