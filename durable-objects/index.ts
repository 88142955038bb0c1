/** Owns the public face of the objects: factories that the worker's entry calls with its ports, stubs, and their RPC signatures. */

export * from "./attachment-rpc.ts";
export { hostObject } from "./host/object.ts";
export { poolObject } from "./pool/object.ts";
export * from "./model-rpc.ts";
export * from "./ports.ts";
export * from "./rpc.ts";
export * from "./schedule-rpc.ts";
export * from "./voice-rpc.ts";
export type { CallReport, ModelCall } from "./session/budget.ts";
export { sessionObject } from "./session/object.ts";
export { storageObject } from "./storage/object.ts";
export type * from "./storage/rpc.ts";
export { tenantObject } from "./tenant/object.ts";
