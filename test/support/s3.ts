/** Owns an S3 for tests: `s3rver` in this process, or the real one that `S3_TEST_ENDPOINT` names. */

import S3rver from "s3rver";

export interface TestS3 {
  settings: { endpoint: string; bucket: string; region: string; accessKeyId: string; secretAccessKey: string };
  close(): Promise<void>;
}

/** Of a real one, `S3_TEST_BUCKET`, `S3_TEST_ACCESS_KEY_ID` and `S3_TEST_SECRET_ACCESS_KEY` say the rest. `dir` is where s3rver keeps its objects. */
export async function startS3(dir: string): Promise<TestS3> {
  const { S3_TEST_ENDPOINT: endpoint, S3_TEST_BUCKET: bucket = "marionette", S3_TEST_REGION: region = "us-east-1", S3_TEST_ACCESS_KEY_ID: accessKeyId = "S3RVER", S3_TEST_SECRET_ACCESS_KEY: secretAccessKey = "S3RVER" } = process.env;
  if (endpoint) return { settings: { endpoint, bucket, region, accessKeyId, secretAccessKey }, close: async () => {} };
  const server = new S3rver({ address: "127.0.0.1", port: 0, silent: true, directory: dir, configureBuckets: [{ name: bucket, configs: [] }] });
  const { port } = await server.run();
  async function close(): Promise<void> {
    const closed = server.close();
    // The client keeps its connections for a next call that never comes.
    server.httpServer.closeAllConnections();
    await closed;
  }
  return { settings: { endpoint: `http://127.0.0.1:${port}`, bucket, region, accessKeyId, secretAccessKey }, close };
}
