import { filter, firstValueFrom } from 'rxjs';
import { Correlator } from '../../../src/correlate/correlator.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import { watchIptables } from '../../../src/sources/rules/iptables.js';
import { longestBlock } from './event-loop.js';

interface RulesJob {
  /** What iptables-save printed. */
  readonly file: string;
  /** Measured is the second reading of two: what `live` does whenever the rules have changed. */
  readonly again?: boolean;
}

interface RulesResult {
  readonly seconds: number;
  readonly blockMs: number;
  readonly services: number;
  readonly endpoints: number;
}

/** Reads rules as `live` does, from a program's output to the machine's index. */
export async function job({ file, again }: RulesJob): Promise<RulesResult> {
  const machine = new Correlator({ interfaces: new Interfaces(), baseSeconds: 0 });
  if (again === true) await read(machine, file);
  return await read(machine, file);
}

async function read(machine: Correlator, file: string): Promise<RulesResult> {
  // In place of each iptables-save; the legacy tables of this node are empty.
  const print = 'case $1 in *nft-save) exec cat "$0";; esac';
  const { result, blockMs } = await longestBlock(async () => {
    const start = performance.now();
    const rules = await firstValueFrom(
      watchIptables({ prefix: ['sh', '-c', print, file], families: [4] }).pipe(
        filter((event) => event.type === 'rules'),
      ),
    );
    machine.push(rules);
    const seconds = (performance.now() - start) / 1000;
    return { seconds, services: rules.services };
  });
  const endpoints = result.services.reduce((sum, { routes }) => sum + routes.length, 0);
  return { seconds: result.seconds, blockMs, services: result.services.length, endpoints };
}
