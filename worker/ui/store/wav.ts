/** Owns recordings as the engines take them: 16 kHz, mono, 16 bits, as a WAV file. */

export const RATE = 16_000;
const HEADER = 44;

/** Samples of −1 to 1 as a WAV file. */
export function wavOf(samples: Float32Array, rate = RATE): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER + 2 * samples.length);
  const view = new DataView(bytes.buffer);
  const text = (at: number, words: string) => Array.from(words, (char, i) => view.setUint8(at + i, char.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, bytes.length - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => view.setInt16(HEADER + 2 * i, Math.round(Math.max(-1, Math.min(1, Number.isNaN(sample) ? 0 : sample)) * 32_767), true));
  return bytes;
}

/** How loud the samples are: the root of their mean square, 0 to 1. */
export function loudness(samples: Float32Array): number {
  return samples.length === 0 ? 0 : Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}

/** Tells when a speaker has stopped. Pure: it is told how loud it is and what time it is. */
export class Silence {
  readonly #limit: number;
  #since: number | null = null;
  #spoken = false;
  /** `limitMs`: so much silence is the end; 0: never. */
  constructor(limitMs: number) {
    this.#limit = limitMs;
  }
  /** True once it is over. Whoever has not begun has more time to. */
  over(level: number, now: number): boolean {
    if (this.#limit === 0) return false;
    if (level >= SPEECH) {
      this.#spoken = true;
      this.#since = null;
      return false;
    }
    this.#since ??= now;
    return now - this.#since >= (this.#spoken ? this.#limit : Math.max(this.#limit, BEGIN_MS));
  }
}
/** Louder than a quiet room. */
const SPEECH = 0.012;
const BEGIN_MS = 4_000;
