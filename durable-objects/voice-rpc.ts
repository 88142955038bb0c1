/** Owns the call that a host's object passes on for speech. */

import type { AudioPiece, Result, TranscribeAnswer } from "../sdk/protocol/index.ts";
import type { Actor } from "./rpc.ts";

export interface HostVoiceRpc {
  /** A piece of a recording, or the question how far it is. `unavailable` where the daemon is not connected. */
  transcribe(actor: Actor, piece: AudioPiece): Promise<Result<TranscribeAnswer>>;
}
