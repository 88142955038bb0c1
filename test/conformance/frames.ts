/** Owns the frames' suite: each runtime's test calls it, so that Node and workerd agree on every good and hostile frame. */

import { describe, expect, it } from "vitest";
import type * as z from "zod";
import { invalid, objectFrame, runnerFrame } from "../../sdk/protocol/index.ts";
import { objectFrames, runnerFrames } from "../support/frames.ts";

export function framesAreParsed(): void {
  for (const [direction, schema, table] of [
    ["from a runner", runnerFrame, runnerFrames],
    ["from the object", objectFrame, objectFrames],
  ] as [string, z.ZodType, typeof runnerFrames][]) {
    describe(`frames ${direction}`, () => {
      for (const { name, frame, field } of table) {
        it(field === undefined ? `${name} is understood and comes out as it went in` : `${name} is refused naming ${field}`, () => {
          const wire: unknown = JSON.parse(JSON.stringify(frame));
          const parsed = schema.safeParse(wire);
          if (field === undefined) expect(parsed).toEqual({ success: true, data: wire });
          else {
            expect(parsed.success).toBe(false);
            expect(Object.keys(invalid(parsed.error as z.ZodError, "frame").details ?? {})).toContain(field);
          }
        });
      }
    });
  }
}
