import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { framesAreParsed } from "../../test/conformance/frames.ts";
import { runnerFrames, objectFrames } from "../../test/support/frames.ts";
import { event, eventBlock, hostHello, logQuery, objectFrame, runnerFrame, sessionCreate, sessionPatch, spawnSpec, taskCreate, viewerAck, viewerFrame } from "./index.ts";

framesAreParsed();

const schemas = { runnerFrame, objectFrame, viewerFrame, viewerAck, hostHello, spawnSpec, sessionCreate, sessionPatch, taskCreate, logQuery, event, eventBlock };

describe("every schema", () => {
  for (const [name, schema] of Object.entries(schemas)) {
    it(`${name} answers any JSON with a verdict, never with a throw`, () => {
      fc.assert(
        fc.property(fc.jsonValue(), (value) => {
          expect(typeof schema.safeParse(value).success).toBe("boolean");
        }),
      );
    });
  }

  it("refuses a good frame with any one field broken, or takes it whole", () => {
    const good = [...runnerFrames, ...objectFrames].filter(({ field }) => field === undefined).map(({ frame }) => frame as object);
    fc.assert(
      fc.property(fc.constantFrom(...good), fc.nat(20), fc.jsonValue(), (frame, at, value) => {
        const keys = Object.keys(frame);
        const broken = { ...frame, [keys[at % keys.length] ?? "type"]: value };
        for (const schema of [runnerFrame, objectFrame]) {
          const parsed = schema.safeParse(broken);
          if (parsed.success) expect(parsed.data).toEqual(broken);
        }
      }),
    );
  });
});
