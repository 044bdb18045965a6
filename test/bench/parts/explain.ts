import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Context, type Part, programOf } from '../context.js';
import { iptablesSave } from '../generate/rules.js';
import { writeTextFile } from '../generate/text-file.js';
import { addressText, endpointAddress, SERVICE_PORT, serviceAddress } from '../generate/world.js';
import { inTurn, runOf } from '../in-turn.js';
import { measureProgram, type ProgramRun } from '../program.js';
import { judged, type Measured, type PartReport, type Row, ratioOf } from '../report.js';
import { runJob } from '../run-job.js';

const WORLDS = [
  { services: 1_000, endpointsEach: 10, clients: 0 },
  { services: 5_000, endpointsEach: 20, clients: 0 },
] as const;
const QUICK_WORLDS = [{ services: 20, endpointsEach: 5, clients: 0 }] as const;

/** Of the time that it takes to read the rules once, Node's start in both: what is left over is the walk and the telling. */
const TIMES = 1.5;

export const explain: Part = {
  name: 'explain',
  purpose: 'a walk through a large rule set, beside one reading of it',
  needs: [],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const rows: Row[] = [];
  const runs: PartReport['runs'][number][] = [];
  for (const world of context.quick ? QUICK_WORLDS : WORLDS) {
    const size = `${world.services} Services with ${world.endpointsEach} endpoints each`;
    mkdirSync(context.scratch, { recursive: true });
    const file = join(context.scratch, `iptables-save-${world.services}.txt`);
    writeTextFile(file, iptablesSave(world, 4));
    const client = addressText(4, endpointAddress(4, world, 0, 0));
    // The last one: every rule of KUBE-SERVICES is met on the way.
    const service = `${addressText(4, serviceAddress(4, world.services - 1))}:${SERVICE_PORT}`;
    const names = [`explain --what-if, ${size}`, `rules to the index, ${size}`] as const;
    const [ours = [], read = []] = await inTurn(context, [
      {
        name: names[0],
        run: async () => {
          const asked = ['--what-if', 'tcp', client, service, file, '-o', 'json'];
          const it = await measureProgram([
            process.execPath,
            programOf(context),
            'explain',
            ...asked,
          ]);
          check(it, world.endpointsEach);
          return it;
        },
      },
      { name: names[1], run: () => runJob('rules', { file }) },
    ]);
    const both = [runOf(names[0], ours), runOf(names[1], read)];
    runs.push(...both);
    const [mine, other] = both.map(
      (it): Measured => ({ what: it.name, unit: 's', figure: it.seconds }),
    );
    if (mine === undefined || other === undefined) throw new Error('nothing was run');
    rows.push(
      judged(
        {
          id: `explain-${world.services}`,
          target: `the time of one rule read (at most ${TIMES} times)`,
          ours: mine,
          peer: other,
          ratio: ratioOf(mine, other),
        },
        { side: 'at most', value: TIMES },
        mine.figure.median / other.figure.median,
      ),
    );
  }
  return {
    part: 'explain',
    input:
      'A packet to the last of all Services: whichpod explain --what-if -o json from the file of iptables-save, whole programs',
    rows,
    runs,
    skipped: [],
  };
}

/** A figure counts only if the answer is whole: each endpoint with its share. */
function check({ stdout }: ProgramRun, endpoints: number): void {
  const { walk } = JSON.parse(stdout) as {
    walk: { endings: readonly { kind: string; ip?: string }[] };
  };
  // An endpoint may have several endings: whether an address is the node's own is not known here.
  const served = walk.endings.filter(({ kind }) => kind === 'endpoint');
  const found = new Set(served.map(({ ip }) => ip)).size;
  if (found !== endpoints) throw new Error(`${found} of ${endpoints} endpoints were found`);
}
