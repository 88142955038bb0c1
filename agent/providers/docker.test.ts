import Docker from "dockerode";
import { providerConformance } from "../../test/conformance/provider.ts";
import { DockerProvider } from "./docker.ts";

const engine = new Docker();
const unavailable = await engine.ping().then(
  () => engine.getImage("marionette-runner:latest").inspect().then(() => null, () => "the image marionette-runner:latest is missing (npm run image)"),
  () => "no Docker engine answers (Debian, Ubuntu: apt-get install docker.io)",
);

providerConformance({
  name: "docker",
  make: (context) => new DockerProvider(context),
  config: "providers: { docker: { resources: { memory: 256m, cpus: 1, pids: 256, tmp: 64m } } }",
  unavailable,
});
