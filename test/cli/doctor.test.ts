import { describe, expect, it } from 'vitest';
import { type DoctorRequest, run } from '../../src/cli/doctor/doctor.js';
import { runCli } from '../../src/cli/program.js';
import type { NodeFacts } from '../../src/model/doctor.js';
import type { NodeFactsOptions } from '../../src/sources/node/facts.js';
import { HEALTHY, nodeWith } from '../explain/doctor/facts.js';
import { expectGolden } from '../sinks/golden.js';
import { fakeCommands, fakeIo } from './fake-io.js';

const REQUEST: DoctorRequest = { json: false, colors: true, verbose: false };
const BROKEN = nodeWith({ process: { platform: 'darwin' } });

async function doctor(facts: NodeFacts, change: Partial<DoctorRequest> = {}, io = fakeIo()) {
  const asked: NodeFactsOptions[] = [];
  const look = (options: NodeFactsOptions): Promise<NodeFacts> => {
    asked.push(options);
    return Promise.resolve(facts);
  };
  const code = await run({ ...REQUEST, ...change }, io, look);
  return { code, asked, stdout: io.stdout.text, stderr: io.stderr.text };
}

describe('doctor', () => {
  it('ends with 0 where live will work, and says so last but for what it misses', async () => {
    const { code, stdout, stderr } = await doctor(HEALTHY);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.trimEnd().split('\n').at(-1)).toBe(
      'live will work: packets by ring, conntrack by netlink, rules of iptables (nft), names from the cluster',
    );
  });

  it('ends with 1 where it could not, and says why', async () => {
    const { code, stdout } = await doctor(BROKEN);
    expect(code).toBe(1);
    expect(stdout).toContain('live will not work: live needs Linux');
  });

  it('tells programs the same', async () => {
    const good = await doctor(HEALTHY, { json: true });
    expect(good.code).toBe(0);
    expect(JSON.parse(good.stdout)).toMatchObject({ schema: 'whichpod-doctor/1', works: true });
    const bad = await doctor(BROKEN, { json: true });
    expect(bad.code).toBe(1);
    expect(JSON.parse(bad.stdout)).toMatchObject({ works: false });
  });

  it('paints on a terminal only, and only if that is wanted', async () => {
    const terminal = { terminal: { stdout: true, stderr: true }, columns: () => 80 };
    const painted = (text: string): boolean => text.includes('\u001b[');
    expect(painted((await doctor(HEALTHY)).stdout)).toBe(false);
    expect(painted((await doctor(HEALTHY, {}, fakeIo(terminal))).stdout)).toBe(true);
    const plain = await doctor(HEALTHY, { colors: false }, fakeIo(terminal));
    expect(painted(plain.stdout)).toBe(false);
  });

  it('asks the cluster that it is told to ask, as the user that runs it', async () => {
    const io = fakeIo({ uid: 1000, env: { HOME: '/nowhere' } });
    const { asked } = await doctor(HEALTHY, { cluster: { context: 'x' }, nodeName: 'node1' }, io);
    expect(asked).toMatchObject([
      { uid: 1000, env: { HOME: '/nowhere' }, cluster: { context: 'x' }, nodeName: 'node1' },
    ]);
    expect((await doctor(HEALTHY)).asked[0]).not.toHaveProperty('cluster');
  });

  it('says nothing any more when it was interrupted', async () => {
    const io = fakeIo();
    io.interrupt();
    expect((await doctor(HEALTHY, {}, io)).stdout).toBe('');
  });
});

describe('the command line of doctor', () => {
  it('has the help as recorded, within 80 columns', async () => {
    const io = fakeIo();
    expect(await runCli(['doctor', '--help'], io, fakeCommands())).toBe(0);
    expectGolden(new URL('data/whichpod-doctor.txt', import.meta.url), io.stdout.text);
    for (const line of io.stdout.lines) expect(line.length).toBeLessThanOrEqual(80);
  });

  it.each([
    [['--no-cluster', '--context', 'x'], /--no-cluster: cannot be used with --context/],
    [['--no-cluster', '--kubeconfig', 'x'], /--no-cluster: cannot be used with --kubeconfig/],
    [['--frobnicate'], /unknown option '--frobnicate'.*whichpod doctor --help/],
    [['word'], /too many arguments/],
  ])('refuses %j', async (argv, complaint) => {
    const io = fakeIo();
    expect(await runCli(['doctor', ...argv], io, fakeCommands())).toBe(2);
    expect(io.stderr.text).toMatch(complaint);
    expect(io.stdout.text).toBe('');
  });
});
