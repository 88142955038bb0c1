/** Owns what every provider is made with, and the small environment that a sandbox gets from its host. */

import type { Config } from "../config/schema.ts";
import type { Logger } from "../daemon/log.ts";

export interface ProviderContext {
  config: Config["providers"];
  /** Directory of the runners' own directories, where sandboxes are found again. */
  runners: string;
  /** Directory of sandboxes that wait to be used, on the same file system. */
  warm: string;
  /** Random name of the data directory. */
  dataId: string;
  /** The host's id, once the control plane has given one. */
  hostId: () => string | null;
  /** Directory of runner.js and example.js. */
  bundle: string;
  /** V8 compile cache, filled by the daemon and read-only to sandboxes. */
  cache: string | null;
  env: NodeJS.ProcessEnv;
  log: Logger;
}

const PASSED = ["LANG", "LC_ALL", "LC_CTYPE", "TZ", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"];
/** Of these, the ones that name files which must then be seen inside. */
export const FILE_VARIABLES = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE"] as const;

/** The host's language, certificates and proxies; nothing else of the daemon's environment, which holds its token. */
export function passedEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(PASSED.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}
