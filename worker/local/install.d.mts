/** Owns the types of `install.mjs`, which runs before there is anything that could strip types from it. */

export const ROOT: string;
export const NODE: string;
export function checkNode(): void;
export function inspect(dir: string, wanted: { dev: boolean }): { fits: boolean; hasDev: boolean };
export function install(wanted: { dev: boolean }): Promise<void>;
export function installIn(dir: string, what: string): Promise<void>;
