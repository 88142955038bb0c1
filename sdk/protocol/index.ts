/** Owns the protocol's public face: every schema, type and pure rule that two rooms share. */

export * from "./access.ts";
export * from "./agent-config.ts";
export * from "./budget.ts";
export * from "./bus-link.ts";
export * from "./capsule.ts";
export * from "./errors.ts";
export * from "./event.ts";
export * from "./history.ts";
export * from "./host.ts";
export * from "./host-link.ts";
export * from "./ids.ts";
export * from "./limits.ts";
export * from "./page.ts";
export * from "./permission.ts";
export * from "./policy.ts";
export * from "./runner-link.ts";
export * from "./secret.ts";
export * from "./session.ts";
export * from "./suspend.ts";
export * from "./task.ts";
export * from "./tokens.ts";
export * from "./usage.ts";
export * from "./values.ts";
export * from "./version.ts";
export * from "./viewer-link.ts";
