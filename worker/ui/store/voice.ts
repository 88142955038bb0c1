/** Owns what the page knows of voice: whether a host can listen, and how this person wants it. */

import { computed, effect, signal } from "@preact/signals";
import * as z from "zod";
import type { VoiceStatus } from "../../../sdk/index.ts";
import { client } from "../client.ts";

const KEPT = "marionette.voice";
/** Null: as the host's owner says. */
const choice = z.object({ auto_send: z.boolean().nullable(), silence_threshold_ms: z.number().int().min(0).max(30_000).nullable() });
export type VoiceChoice = z.infer<typeof choice>;
const OPEN: VoiceChoice = { auto_send: null, silence_threshold_ms: null };

function kept(): VoiceChoice {
  try {
    return choice.parse(JSON.parse(localStorage.getItem(KEPT) ?? "null"));
  } catch {
    return OPEN;
  }
}

export const voiceChoice = signal<VoiceChoice>(kept());
effect(() => localStorage.setItem(KEPT, JSON.stringify(voiceChoice.value)));

/** Null before it is known. */
export const voiceStatus = signal<VoiceStatus | null>(null);
export const voiceWanted = computed(() => ({
  auto_send: voiceChoice.value.auto_send ?? voiceStatus.value?.auto_send ?? false,
  silence_threshold_ms: voiceChoice.value.silence_threshold_ms ?? voiceStatus.value?.silence_threshold_ms ?? 0,
}));

/** Asks again; throws where it cannot be known. */
export async function lookForVoice(): Promise<VoiceStatus> {
  return (voiceStatus.value = await client.voice.status());
}
