import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { newId, newToken, sealModelKey } from "../../sdk/protocol/index.ts";
import { OpenedKeys } from "./opened-keys.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"] }));
afterEach(() => void vi.useRealTimers());
const later = (ms: number) => vi.setSystemTime(Date.now() + ms);

describe("sessions' own keys in the open", () => {
  it("are found by who has what opens them, and by nobody else", async () => {
    const [token, session] = [newToken("run"), newId("session", 1)];
    const keys = new OpenedKeys();
    const sealed = await sealModelKey(token, session, "sk-own");
    const decrypt = vi.spyOn(crypto.subtle, "decrypt");
    expect([await keys.find(token, session, sealed), await keys.find(token, session, sealed)]).toEqual(["sk-own", "sk-own"]);
    expect(decrypt).toHaveBeenCalledTimes(1);
    for (const [other, owner, text] of [[newToken("run"), session, sealed], [token, newId("session", 1), sealed], [token, session, await sealModelKey(newToken("run"), session, "sk-other")]] as const) {
      await expect(keys.find(other, owner, text)).rejects.toThrow(/./);
    }
    // Another key was given: the old one is not taken for it.
    expect(await keys.find(token, session, await sealModelKey(token, session, "sk-new"))).toBe("sk-new");
    decrypt.mockRestore();
  });
  it("are forgotten soon after their last use", async () => {
    const [token, session] = [newToken("run"), newId("session", 1)];
    const keys = new OpenedKeys();
    const decrypt = vi.spyOn(crypto.subtle, "decrypt");
    const [one, two] = [await sealModelKey(token, session, "sk-1"), await sealModelKey(token, session, "sk-2")];
    await keys.find(token, session, one);
    later(20_000);
    await keys.find(token, session, one);
    later(20_000);
    await keys.find(token, session, one);
    expect(decrypt).toHaveBeenCalledTimes(1);
    later(31_000);
    await keys.find(token, session, two);
    await keys.find(token, session, one);
    expect(decrypt).toHaveBeenCalledTimes(3);
    decrypt.mockRestore();
  });
});
