/** Owns the suites by which others see that their sandbox or their store does what this runtime counts on. Needs vitest. */

export { sandboxContract, type ContractOptions, type ContractSubject } from "./sandbox/contract.ts";
export { persistenceSuite, type PersistenceSubject } from "./persistence/suite.ts";
