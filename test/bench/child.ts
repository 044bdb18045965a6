/**
 * Does one job in a process of its own, so that its memory and its event loop are nobody else's:
 * `node child.js NAME '<JSON>'` writes the result as JSON. It runs compiled (see compile.ts): a loader
 * would be measured too.
 */
const JOBS = {
  decode: () => import('./jobs/decode.js'),
  'conntrack-xml': () => import('./jobs/conntrack-xml.js'),
  'conntrack-fill': () => import('./jobs/conntrack-fill.js'),
  'conntrack-dump': () => import('./jobs/conntrack-dump.js'),
  rules: () => import('./jobs/rules.js'),
  'rules-floor': () => import('./jobs/rules-floor.js'),
  'api-server': () => import('./jobs/api-server.js'),
  cluster: () => import('./jobs/cluster.js'),
  'cluster-plain': () => import('./jobs/cluster-plain.js'),
  'conntrack-events': () => import('./jobs/conntrack-events.js'),
  'cap-capture': () => import('./jobs/cap-capture.js'),
  memory: () => import('./jobs/memory.js'),
} as const;

export type JobName = keyof typeof JOBS;

/** What a job is given and what it gives. */
export type Job<N extends JobName> = Awaited<ReturnType<(typeof JOBS)[N]>>['job'];

const [, , name = '', input = 'null'] = process.argv;
const { job } = await JOBS[name as JobName]();
const result: unknown = await (job as (input: unknown) => unknown)(JSON.parse(input));
process.stdout.write(`${JSON.stringify(result)}\n`);
