/** Owns the gateway's raw limit within workerd: a worker that passes a request on and its answer back, and neither asks nor counts. */

interface Env {
  UPSTREAM: string;
}

export default {
  fetch: (request: Request, env: Env) => fetch(env.UPSTREAM + new URL(request.url).pathname, request),
};
