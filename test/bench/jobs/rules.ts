import { readFileSync } from 'node:fs';
import { filter, firstValueFrom } from 'rxjs';
import { Correlator } from '../../../src/correlate/correlator.js';
import { ServiceIndex } from '../../../src/correlate/service-index.js';
import { IptablesSaveReader } from '../../../src/decode/rules/iptables-save.js';
import { iptablesServices } from '../../../src/decode/rules/iptables-services.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import { TCP } from '../../../src/model/packet.js';
import type { ServiceEntry } from '../../../src/model/services.js';
import { watchIptables } from '../../../src/sources/rules/iptables.js';
import { longestBlock } from './event-loop.js';
import { askWithPacket, ELSEWHERE } from './first-packet.js';

interface RulesJob {
  /** What iptables-save printed. */
  readonly file: string;
  /** It lies in memory: nothing is measured but reading and indexing it, in one go. */
  readonly fromMemory?: boolean;
  /** Measured is the second reading of two: what `live` does whenever the rules have changed. */
  readonly again?: boolean;
}

interface RulesResult {
  readonly seconds: number;
  readonly blockMs: number;
  readonly services: number;
  readonly endpoints: number;
}

/** Bytes of a chunk, as pipes give them. */
const CHUNK = 65_536;

/** Reads rules as `live` does, from a program's output to the machine's index. */
export async function job({ file, fromMemory, again }: RulesJob): Promise<RulesResult> {
  const machine = new Correlator({ interfaces: new Interfaces(), baseSeconds: 0 });
  if (fromMemory === true) return readFromMemory(file);
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
    await askWithPacket(machine);
    const seconds = (performance.now() - start) / 1000;
    return { seconds, services: rules.services };
  });
  const { seconds, services } = result;
  return { seconds, blockMs, services: services.length, endpoints: endpointsOf(services) };
}

function readFromMemory(file: string): RulesResult {
  const bytes = readFileSync(file);
  const start = performance.now();
  const reader = new IptablesSaveReader();
  for (let at = 0; at < bytes.length; at += CHUNK) reader.feed(bytes.subarray(at, at + CHUNK));
  reader.end();
  const services = reader.dumps.flatMap((rules) => iptablesServices(rules));
  // Its tables are made when it is first asked.
  new ServiceIndex([{ entries: services }], []).find(ELSEWHERE, 0, 1, TCP);
  const seconds = (performance.now() - start) / 1000;
  return { seconds, blockMs: 0, services: services.length, endpoints: endpointsOf(services) };
}

function endpointsOf(services: readonly ServiceEntry[]): number {
  return services.reduce((sum, { routes }) => sum + routes.length, 0);
}
