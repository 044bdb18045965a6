import { closeLabsSync, createLab } from '../../src/lab/lab.js';
import { TUTORIAL } from '../../src/lab/tutorial.js';

/** A process that has a lab, as `whichpod demo` has one; it tells where the node is, and waits to be ended. */
process.on('exit', closeLabsSync);
process.on('SIGINT', () => process.exit(130));
const building = createLab(TUTORIAL);
if (process.argv[2] === 'while building') process.stdout.write('building\n');
const lab = await building;
process.stdout.write(`${lab.enter('node').at(-1) ?? ''}\n`);
