/** What is used of s3rver, which brings no types. */
declare module "s3rver" {
  import type { Server } from "node:http";
  export default class S3rver {
    constructor(options: { address: string; port: number; silent: boolean; directory: string; configureBuckets: { name: string; configs: string[] }[] });
    run(): Promise<{ port: number }>;
    readonly httpServer: Server;
    close(): Promise<void>;
  }
}
