import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { Failure, newId } from "../../sdk/protocol/index.ts";
import type { Env } from "../env.ts";
import { archiveName, archiveOf } from "./archive.ts";
import type { DataKey } from "./data-keys.ts";
import { r2Store } from "./r2-store.ts";

/** A key that seals as the real one does: bound to the name, refusing what was altered. */
async function keyOf(tenantId: string): Promise<DataKey> {
  const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
  const iv = new Uint8Array(12);
  const at = (name: string) => ({ name: "AES-GCM", iv, additionalData: new TextEncoder().encode(name) });
  return {
    tenantId, version: 1, name: (id) => id,
    seal: async (name, bytes) => new Uint8Array(await crypto.subtle.encrypt(at(name), key, bytes)),
    open: async (name, sealed) => new Uint8Array(await crypto.subtle.decrypt(at(name), key, sealed).catch(() => Promise.reject(new Failure("conflict", "does not open")))),
  };
}

const objects = r2Store((env as unknown as Env).BUCKET);
const tenant_id = newId("tenant", 1);
const text = (word: string) => new Uint8Array(new TextEncoder().encode(`${word} `.repeat(10_000)));

describe("the archive", () => {
  it("keeps a block under its name, compressed and sealed, and gives it back", async () => {
    const key = await keyOf(tenant_id);
    const archive = archiveOf(() => ({ objects, dataKey: async () => key }));
    const session_id = newId("session", 1);
    const at = { tenant_id, session_id, block: 1 };
    const { bytes } = await archive.put(at, text("hello"));
    expect(bytes).toBeLessThan(1_000);
    expect(archiveName(at)).toBe(`archives/${tenant_id}/${session_id}/events.jsonl.zst`);
    expect(new TextDecoder().decode(await (await objects.get(archiveName(at)))?.bytes())).not.toContain("hello");
    expect(await archive.get(at)).toEqual(text("hello"));
    expect(await archive.put(at, text("hello"))).toEqual({ bytes });
  });

  it("names a block that is missing, changed, cut, swapped or sealed with another key", async () => {
    const key = await keyOf(tenant_id);
    const archive = archiveOf(() => ({ objects, dataKey: async () => key }));
    const at = (block: number) => ({ tenant_id, session_id: newId("session", 2).slice(0, -1) + "0", block });
    const [one, two] = [at(1), at(2)];
    await archive.put(one, text("one"));
    await archive.put(two, text("two"));
    const sealed = (await (await objects.get(archiveName(one)))?.bytes()) as Uint8Array;
    const failing = async (bytes: Uint8Array | null, why: string) => {
      if (bytes) await objects.put(archiveName(two), bytes);
      else await objects.delete([archiveName(two)]);
      await expect(archive.get(two)).rejects.toMatchObject({ code: "conflict", details: { block: 2, why } });
    };
    await failing(sealed, "unreadable");
    await failing(sealed.map((byte, i) => (i === 9 ? byte ^ 1 : byte)), "unreadable");
    await failing(sealed.slice(0, -1), "unreadable");
    await failing(null, "missing");
    const other = await keyOf(tenant_id);
    await expect(archiveOf(() => ({ objects, dataKey: async () => other })).get(one)).rejects.toMatchObject({ code: "conflict", details: { block: 1, why: "unreadable" } });
  });

  it("does not call a block kept that the store gives back as something else", async () => {
    const key = await keyOf(tenant_id);
    const forgetful = { ...objects, put: async () => ({ stored: true }) };
    const session_id = newId("session", 3);
    await expect(archiveOf(() => ({ objects: forgetful, dataKey: async () => key })).put({ tenant_id, session_id, block: 1 }, text("x"))).rejects.toBeInstanceOf(Failure);
    expect(archiveOf(() => ({ objects, dataKey: async () => key })).after_ms).toBe(60_000);
    expect(archiveOf(() => ({ objects, dataKey: async () => key }), "5").after_ms).toBe(5_000);
  });
});
