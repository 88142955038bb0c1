/** Owns the tests of the selector's language: a table of what holds, and of what is refused by name. */

import { describe, expect, it } from "vitest";
import { hostInfoFor } from "./sample.ts";
import { attributes, matches, parseSelector, quantity } from "./selector.ts";

const has = attributes(hostInfoFor("host-a", { labels: { gpu: "nvidia", vram: "24GB", zone: "eu-1" }, cpus: 8, memory_mb: 16_384 }));

describe("a selector", () => {
  it.each([
    ["gpu=nvidia", true],
    ["gpu=amd", false],
    ["gpu!=amd", true],
    ["gpu!=nvidia", false],
    ["tpu!=v5", true],
    ["tpu=v5", false],
    ["vram>=16GB", true],
    ["vram >= 24GB", true],
    ["vram>24GB", false],
    ["vram=24576MB", true],
    ["vram<=0.5TB", true],
    ["vram<24gb", false],
    ["zone>1", false],
    ["os=linux,arch=x64", true],
    ["os!=linux", false],
    ["host=host-a", true],
    ["cpus>=8,cpus<9", true],
    ["memory>=16GB", true],
    ["memory>16GB", false],
    ["gpu=nvidia,vram>=48GB", false],
    ["nothing>=0", false],
  ])("%s is %s on the sample host", (selector, expected) => {
    const parsed = parseSelector(selector);
    expect(parsed.ok && matches(parsed.value, has)).toBe(expected);
  });

  it("lets a label of the host say otherwise than what was found", () => {
    const parsed = parseSelector("os=custom");
    expect(parsed.ok && matches(parsed.value, attributes(hostInfoFor("x", { labels: { os: "custom" } })))).toBe(true);
  });

  it("is no condition where there is none", () => {
    expect(parseSelector(null)).toEqual({ ok: true, value: [] });
  });

  it.each(["", "gpu", "gpu=", "=nvidia", "gpu=nvidia,", "gpu==nvidia", "gpu=a=b", "vram>=lots", "vram>16QB", "gpu~nvidia", "$x=1", "vram>=1 6GB", "gpu=>3"])("%j is refused by name", (selector) => {
    const parsed = parseSelector(selector);
    if (parsed.ok) expect.fail(`took ${selector}`);
    expect(parsed.error.code).toBe("bad_request");
    expect(parsed.error.message).toContain(`'${selector.split(",").at(-1)}'`);
  });

  it("counts memory in powers of 1,024", () => {
    expect([quantity("1KB"), quantity("1.5 GB"), quantity("7"), quantity("1TB"), quantity("x"), quantity("-1")]).toEqual([1024, 1.5 * 1024 ** 3, 7, 1024 ** 4, null, null]);
  });
});
