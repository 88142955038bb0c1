import { expect, it } from "vitest";
import { budgetCreate } from "./budget.ts";
import { invalid } from "./errors.ts";
import { sessionCreate } from "./session.ts";

it("says of a field what is expected of it, also of the name of a label", () => {
  const said = (schema: typeof sessionCreate | typeof budgetCreate, value: unknown) => {
    const { error } = schema.safeParse(value);
    return error && invalid(error).message;
  };
  const expected = "expected letters, digits, '.', '_', '/' or '-', at most 63";
  expect(said(sessionCreate, { agent: "claude", labels: { "a b": "c" } })).toBe(`body is not valid: labels.a b: ${expected}`);
  expect(said(budgetCreate, { label: { name: "a b", value: "c" }, max_tokens: 1 })).toBe(`body is not valid: label.name: ${expected}`);
  expect(said(budgetCreate, { max_tokens: 1, more: 2 })).toBe("body is not valid: more: unknown field");
});
