import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Marionette, type Event } from "../../sdk/index.ts";
import { patientClient, storedLog } from "../support/chaos.ts";
import { startProxy, type Proxy } from "../support/proxy.ts";
import { chance } from "../support/random.ts";
import { eventsOf, logItem, RawRunner } from "../support/raw-runner.ts";
import { startSpecHost, type SpecHost } from "../support/spec-host.ts";
import { startStack, type Stack } from "../support/stack.ts";

const EVENTS = 1_500;

describe("a followed log over a line that is cut", () => {
  let stack: Stack;
  let host: SpecHost;
  let proxy: Proxy;
  beforeAll(async () => {
    stack = await startStack();
    host = await startSpecHost(stack.url, (await stack.admin.createRunnerToken(stack.tenantId, "spec host")).token);
    proxy = await startProxy(stack.url);
  });
  afterAll(async () => {
    await proxy.close();
    host.close();
    await stack.close();
  });

  /** A client behind the proxy that does not wait between its attempts. */
  const cutClient = () => new Marionette({ url: proxy.url, apiKey: stack.apiKey, sleep: async () => {} });

  it("gives every event once and in order, wherever the bytes end, from any place on, while more is written", async () => {
    const { seed, below } = chance();
    console.info(`TEST_SEED=${seed}`);
    const direct = patientClient(stack);
    const session = await direct.sessions.create({ agent: "raw" });
    const runner = await RawRunner.welcomed(stack.url, await host.spec(session.id));
    let written = 0;
    /** Lines of every length, with characters of every width and such as look like the stream's own syntax. */
    const write = async (count: number) => {
      for (let left = count; left > 0; ) {
        const items = Array.from({ length: Math.min(left, 1 + below(50)) }, () => logItem(`${"aé語🤖\n\r\ndata: x\n\nid: 7\n".slice(0, below(24)).toWellFormed()}${"z".repeat(below(300))}`));
        runner.send(eventsOf(written + 1, null, items));
        written += items.length;
        left -= items.length;
      }
      await runner.acknowledged(written);
    };
    await write(EVENTS);

    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 60_000 }), { minLength: 1, maxLength: 12 }), fc.nat(EVENTS), fc.boolean(), async (budgets, after, raw) => {
        const { last_seq } = await direct.sessions.get(session.id);
        const cuts = [...budgets];
        // Each connection has its share of bytes; when all cuts are used up the line holds.
        proxy.budget = () => cuts.shift() ?? null;
        const seen: Event[] = [];
        const stream = cutClient().sessions.events(session.id, { follow: true, after, raw }, { max_reconnects: 100, max_retries: 100 });
        const more = write(40);
        for await (const event of stream) {
          seen.push(event);
          if (event.seq >= last_seq + 40) break;
        }
        await more;
        const stored = (await storedLog(direct, session.id)).filter(({ seq }) => seq > after && seq <= last_seq + 40);
        expect(seen).toEqual(stored);
        expect(stream.position).toBe(last_seq + 40);
      }),
      { seed, numRuns: 25 },
    );
    proxy.budget = null;
    expect(proxy.made).toBeGreaterThan(24);
    runner.drop();
  });

  it("ends when the session ends, however often it was cut before its last word", async () => {
    const { below } = chance();
    const direct = patientClient(stack);
    for (let turn = 0; turn < 5; turn++) {
      const { id } = await direct.sessions.create({ agent: "raw" });
      const runner = await RawRunner.welcomed(stack.url, await host.spec(id));
      runner.send(eventsOf(1, null, Array.from({ length: 50 }, (_, i) => logItem(`line ${i}`))));
      await runner.acknowledged(50);
      let left = 8;
      proxy.budget = () => (left-- > 0 ? 200 + below(4_000) : null);
      const seen: Event[] = [];
      const reading = (async () => {
        for await (const event of cutClient().sessions.events(id, { follow: true }, { max_reconnects: 100, max_retries: 100 })) seen.push(event);
      })();
      await direct.sessions.terminate(id);
      await reading;
      expect(seen).toEqual(await storedLog(direct, id));
      proxy.budget = null;
      runner.drop();
    }
  });
});
