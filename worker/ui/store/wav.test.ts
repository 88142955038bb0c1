import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { audioTypeOf, wavSeconds } from "../../../sdk/protocol/voice.ts";
import { loudness, RATE, Silence, wavOf } from "./wav.ts";

describe("a recording", () => {
  it("is a WAV file of its length, whatever was recorded", () => {
    fc.assert(fc.property(fc.float32Array({ maxLength: 2_000 }), (samples) => {
      const bytes = wavOf(samples);
      expect([audioTypeOf(bytes), wavSeconds(bytes)]).toEqual(["audio/wav", samples.length / RATE]);
    }));
  });

  it("keeps its samples", () => {
    const view = new DataView(wavOf(Float32Array.from([0, 1, -1, 0.5, 9])).buffer);
    expect([0, 1, 2, 3, 4].map((i) => view.getInt16(44 + 2 * i, true))).toEqual([0, 32_767, -32_767, 16_384, 32_767]);
  });
});

describe("silence", () => {
  it("ends a recording after so long, once somebody has spoken", () => {
    const silence = new Silence(1_000);
    expect([silence.over(0, 0), silence.over(0, 2_000), silence.over(0.2, 3_000), silence.over(0, 3_500), silence.over(0.2, 4_000), silence.over(0, 4_100), silence.over(0, 5_000), silence.over(0, 5_100)]).toEqual([false, false, false, false, false, false, false, true]);
    expect(new Silence(0).over(0, 1e9)).toBe(false);
    const nobody = new Silence(500);
    expect([nobody.over(0, 0), nobody.over(0, 3_999), nobody.over(0, 4_000)]).toEqual([false, false, true]);
  });

  it("is told from speech by how loud it is", () => {
    expect([loudness(new Float32Array()), loudness(new Float32Array(10)), loudness(Float32Array.from([0.5, -0.5]))]).toEqual([0, 0, 0.5]);
  });
});
