import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import Docker from "dockerode";
import { describe, expect, it } from "vitest";
import { sandboxContract } from "./contract.ts";
import { createDockerSandboxProvider } from "./docker.ts";

const IMAGE = process.env["MARCO_TEST_IMAGE"] ?? "debian:bookworm-slim";
const docker = new Docker();
const reason = await docker.ping().then(
  () => docker.getImage(IMAGE).inspect().then(() => null, () => `Docker has no image ${IMAGE}: docker pull ${IMAGE}, or npm run image:marco, which makes it where there is no registry; then npm run test:docker`),
  () => "no Docker engine answers: start one (systemctl start docker), then npm run test:docker",
);
const namespace = `test-${randomBytes(6).toString("hex")}`;

if (reason === null) {
  sandboxContract("docker", {
    async make() {
      const make = () => createDockerSandboxProvider({ image: IMAGE, namespace, network: "none" });
      return { provider: make(), again: make };
    },
  });
}

describe("the docker provider", () => {
  it.skipIf(reason !== null)(`answers for its containers${reason === null ? "" : `: ${reason}`}`, async () => {
    const provider = createDockerSandboxProvider({ image: IMAGE, namespace, network: "none" });
    try {
      const { workspace } = await provider.materialize("options");
      let out = "";
      for await (const event of workspace.exec("grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; unshare -U true 2>&1; mount -t tmpfs x /mnt 2>&1; chroot / true 2>&1; mknod /tmp/d b 1 1 2>&1; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null")) {
        if (event.type === "output") out += Buffer.from(event.bytes).toString();
      }
      expect(out).toMatch(/NoNewPrivs:\s+1/);
      expect(out).toMatch(/Seccomp:\s+2/);
      expect(out).toContain("512");
      expect(out.match(/not permitted|denied|failed|cannot/gi)?.length).toBeGreaterThanOrEqual(4);
    } finally {
      await provider.destroy("options");
    }
  });
  it.skipIf(reason !== null)("says which image is missing", async () => {
    const provider = createDockerSandboxProvider({ image: "marco-none-such:x", namespace, pull: false });
    await expect(provider.materialize("missing")).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("docker pull marco-none-such:x") as string });
  });
  it("says that no engine answers", async () => {
    const provider = createDockerSandboxProvider({ engine: { socketPath: "/tmp/marco-no-such-engine.sock" } });
    await expect(provider.materialize("none")).rejects.toMatchObject({ code: "unavailable", message: expect.stringContaining("no Docker engine answers") as string });
    await expect(provider.status("none")).rejects.toMatchObject({ code: "unavailable" });
  });
  it("filters system calls as the hosts do", async () => {
    const [own, hosts] = await Promise.all([join(import.meta.dirname, "image/seccomp.json"), join(import.meta.dirname, "../../image/seccomp.json")].map((path) => readFile(path, "utf8")));
    expect(own).toBe(hosts);
  });
});
