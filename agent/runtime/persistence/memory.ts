/** Owns conversations in memory: for evaluations and tests. They go with the process. */

import { appendedSince, batchTexts, checkedId, checkedPage, jsonText, savedSince, type Archived, type Json, type LiveState, type PersistenceAdapter } from "./adapter.ts";

interface Kept {
  /** As text, so that nobody changes what was saved. */
  state: { text: string; revision: number; at: Date } | null;
  archive: { text: string; at: Date }[];
}

export function createMemoryPersistence(now: () => Date = () => new Date()): PersistenceAdapter {
  const conversations = new Map<string, Kept>();
  const of = (id: string): Kept => {
    const found = conversations.get(checkedId(id)) ?? { state: null, archive: [] };
    conversations.set(id, found);
    return found;
  };
  const parsed = (text: string) => JSON.parse(text) as Json;
  return {
    async load(id): Promise<LiveState | null> {
      const state = conversations.get(checkedId(id))?.state;
      return state ? { state: parsed(state.text), revision: state.revision, updated_at: state.at } : null;
    },
    async save(id, state, { revision } = {}): Promise<LiveState> {
      const text = jsonText(state, "state");
      const kept = of(id);
      const current = kept.state?.revision ?? 0;
      if (revision !== undefined && revision !== current) throw savedSince(id, revision, current);
      kept.state = { text, revision: current + 1, at: now() };
      return { state: parsed(text), revision: current + 1, updated_at: kept.state.at };
    },
    async append(id, messages, { seq } = {}): Promise<number> {
      const texts = batchTexts(messages);
      const { archive } = of(id);
      const next = archive.length;
      if (seq !== undefined && seq !== next) throw appendedSince(id, seq, next);
      archive.push(...texts.map((text) => ({ text, at: now() })));
      return next;
    },
    async archive(id, options = {}): Promise<Archived[]> {
      const { seq, limit } = checkedPage(options);
      const kept = conversations.get(checkedId(id))?.archive ?? [];
      return kept.slice(seq, seq + limit).map(({ text, at }, i) => ({ seq: seq + i, message: parsed(text), at }));
    },
    async remove(id): Promise<boolean> {
      return conversations.delete(checkedId(id));
    },
    async close(): Promise<void> {},
  };
}
