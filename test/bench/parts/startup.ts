import { type Context, type Part, programOf } from '../context.js';
import { inTurn, runOf } from '../in-turn.js';
import { measureProgram } from '../program.js';
import { judged, type Measured, type PartReport, ratioOf } from '../report.js';

const SECONDS = 0.15;
/** Short runs vary more. */
const MORE_ROUNDS = 3;

export const startup: Part = {
  name: 'startup',
  purpose: 'whichpod --help beside a Node that does nothing',
  needs: [],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const rounds = context.quick ? context.rounds : context.rounds * MORE_ROUNDS;
  const names = ['whichpod --help', 'node -e 0'] as const;
  const [ours = [], node = []] = await inTurn({ ...context, rounds }, [
    {
      name: names[0],
      run: () => measureProgram([process.execPath, programOf(context), '--help']),
    },
    { name: names[1], run: () => measureProgram([process.execPath, '-e', '0']) },
  ]);
  const runs = [runOf(names[0], ours), runOf(names[1], node)];
  const [mine, other] = runs.map(
    (run): Measured => ({ what: run.name, unit: 's', figure: run.seconds }),
  );
  if (mine === undefined || other === undefined) throw new Error('nothing was run');
  return {
    part: 'startup',
    input: 'Files in memory',
    rows: [
      judged(
        {
          id: 'help',
          target: `at most ${SECONDS * 1000} ms`,
          ours: mine,
          peer: other,
          ratio: ratioOf(mine, other),
        },
        { side: 'at most', value: SECONDS },
      ),
    ],
    runs,
    skipped: [],
  };
}
