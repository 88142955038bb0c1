import { expect, it } from "vitest";
import { chaos } from "../chaos/harness.ts";
import { tableOf } from "../chaos/table.ts";
import { chance } from "../support/random.ts";

const KILLS = 60;

it(`${KILLS} kills at random points lose nothing, double nothing and end every task one way`, async () => {
  const { seed } = chance();
  const report = await chaos({ kills: KILLS, seed, sessions: 5, slow: false, docker: false, say: (line) => console.info(line) });
  console.info(tableOf(report));
  expect(report.broken).toEqual([]);
  expect(report.struck).toBe(KILLS);
  expect(report.faults.filter(({ struck, survived }) => struck !== survived)).toEqual([]);
}, 600_000);
