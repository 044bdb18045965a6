import { labUnavailable } from '../../../src/lab/available.js';
import { type ChurnLab, createChurnLab } from '../churn-lab.js';
import { type Context, type Part, pause, programOf } from '../context.js';
import { type Figure, figureOf } from '../figure.js';
import { conntrackLimit } from '../machine.js';
import { judged, type PartReport, type Row } from '../report.js';
import { runJob } from '../run-job.js';
import { Watched } from '../watched.js';

const SERVICES = 1_000;
const QUICK_SERVICES = 5;
const PODS = 10_000;
const QUICK_PODS = 20;
const ENTRIES = 250_000;
const QUICK_ENTRIES = 100;

const FIRST_SECONDS = 1;
const SHARE_PERCENT = 5;
const MEGABYTES = 200;

/** So that one passes soon, whenever whichpod is ready. */
const PER_SECOND = 50;
/** Before whichpod starts, so that its clients have started. */
const AHEAD_MS = 500;
const ASKED_SECONDS = 4;
/** Rules are read again every 30 s. */
const IDLE_MS = 40_000;
const QUICK_IDLE_MS = 500;
/** Until everything was listed. */
const SETTLE_MS = 5_000;
const QUICK_SETTLE_MS = 500;

export const node: Part = {
  name: 'node',
  purpose:
    'live on a large, quiet node: until the first attribution, CPU while nothing happens, memory',
  needs: ['conntrack'],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const [services, pods] = context.quick ? [QUICK_SERVICES, QUICK_PODS] : [SERVICES, PODS];
  const report = {
    part: 'node',
    input: `${services + 1} Services in iptables (nft) and in an API server on the node, ${pods} Pods`,
    runs: [],
  };
  const unavailable = labUnavailable({ ruleBackend: 'iptables-nft' });
  if (unavailable !== undefined) return { ...report, rows: [], skipped: [unavailable] };
  const lab = await createChurnLab(context.scratch, services);
  try {
    const kubeconfig = await lab.serveCluster(pods);
    const args = ['live', '--kubeconfig', kubeconfig, '-o', 'ndjson'];
    const fromFiles = ['live', '--objects', lab.objects, '-o', 'ndjson'];
    const what = 'from the start of live to its first line';
    const files = { what, unit: 's', figure: await firstSeconds(context, lab, fromFiles) } as const;
    const api = {
      what: `${what}, ${pods} Pods from the API server`,
      unit: 's',
      figure: await firstSeconds(context, lab, args),
    } as const;
    const target = `first attribution within ${FIRST_SECONDS} s`;
    const first: Row[] = [
      judged({ id: 'first', target, ours: files }, { side: 'at most', value: FIRST_SECONDS }),
      { id: 'first-api', ours: api },
    ];
    const entries = context.quick ? QUICK_ENTRIES : Math.min(ENTRIES, conntrackLimit().most);
    const rows = [...first, ...(await quietRows(context, lab, args, entries))];
    const skipped =
      entries < ENTRIES && !context.quick
        ? [`a table of ${ENTRIES} entries: this machine's limit admits ${entries}`]
        : [];
    return { ...report, rows, skipped };
  } finally {
    await lab.close();
  }
}

const live = (context: Context, lab: ChurnLab, args: readonly string[]): readonly string[] => [
  ...lab.lab.enter('node'),
  process.execPath,
  programOf(context),
  ...args,
];

/** From the start of the program to the first line about a connection, while some come all the time. */
async function firstSeconds(
  context: Context,
  lab: ChurnLab,
  args: readonly string[],
): Promise<Figure> {
  const seconds: number[] = [];
  const first = async (traffic: Promise<unknown>): Promise<number> => {
    await pause(AHEAD_MS);
    const began = performance.now();
    const watched = new Watched(live(context, lab, args), 'pipe');
    const told = watched.says(/"type":"attribution"/, 'stdout');
    try {
      // Traffic that fails ends the waiting.
      await Promise.race([told, traffic.then(() => told)]);
      return (performance.now() - began) / 1000;
    } finally {
      await watched.interrupt();
    }
  };
  for (let round = 0; round <= context.rounds; round++) {
    const traffic = lab.churn(PER_SECOND * ASKED_SECONDS, PER_SECOND);
    const [took] = await Promise.all([first(traffic), traffic]);
    // The first fills the page cache.
    if (round > 0) seconds.push(took);
    context.say(`  first attribution after ${took.toFixed(2)} s`);
  }
  return figureOf(seconds);
}

async function quietRows(
  context: Context,
  lab: ChurnLab,
  args: readonly string[],
  entries: number,
): Promise<Row[]> {
  context.say(`filling a table with ${entries} entries`);
  await runJob('conntrack-fill', { entries }, lab.lab.enter('node'));
  const watched = new Watched(live(context, lab, args));
  await watched.says(/^watching /m);
  await pause(context.quick ? QUICK_SETTLE_MS : SETTLE_MS);
  const idle = context.quick ? QUICK_IDLE_MS : IDLE_MS;
  const used = await watched.during(() => pause(idle), 0);
  const share = (100 * used.cpuSeconds) / (idle / 1000);
  return [
    judged(
      {
        id: 'idle',
        target: `at most ${SHARE_PERCENT} % of a core for rules`,
        ours: {
          what: 'all that live does while nothing happens',
          unit: '%',
          figure: figureOf([share]),
        },
        remark: context.quick ? '' : `over ${IDLE_MS / 1000} s, with one reading of the rules`,
      },
      { side: 'at most', value: SHARE_PERCENT },
    ),
    judged(
      {
        id: 'resident',
        target: `at most ${MEGABYTES} MB resident after listing ${PODS} Pods, with ${ENTRIES} conntrack entries`,
        ours: { what: 'live -o ndjson', unit: 'MB', figure: figureOf([used.residentMegabytes]) },
        remark: `${entries} entries; at its most ${Math.round(used.peakMegabytes)} MB`,
      },
      { side: 'at most', value: MEGABYTES },
    ),
  ];
}
