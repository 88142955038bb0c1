/** Owns the public face of the scripted model server. */

export { script, type StepInput } from "./script.ts";
export { startModelServer, type Api, type ModelServer, type SeenRequest } from "./server.ts";
