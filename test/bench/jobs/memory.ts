import { Correlator } from '../../../src/correlate/correlator.js';
import { IptablesSaveReader } from '../../../src/decode/rules/iptables-save.js';
import { iptablesServices } from '../../../src/decode/rules/iptables-services.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import { PacketRows } from '../../../src/model/packet-rows.js';
import { iptablesSave } from '../generate/rules.js';
import { START_SECONDS, type World } from '../generate/world.js';
import { FAR, NEAR, Segments } from './segments.js';

interface MemoryJob {
  readonly connections: number;
  readonly waves: number;
  /** As for rows of output; false as for a summary of captures, beside which there is nothing else to hear. */
  readonly describes: boolean;
}

interface MemoryResult {
  /** Of the machine's state, with all connections of the first wave open, garbage collected. */
  readonly bytesEach: number;
  /** Before anything, with all of the first wave open, and after the end of each wave. */
  readonly idleMegabytes: number;
  readonly openMegabytes: number;
  readonly afterMegabytes: readonly number[];
  /** Heap and buffers after the end of each wave. */
  readonly afterStateMegabytes: readonly number[];
  readonly attributed: number;
}

const WORLD: World = { services: 100, endpointsEach: 10, clients: 1000 };
/** Longer than anything is remembered of a connection that has ended. */
const REST_SECONDS = 300;
const TICK_SECONDS = 5;
const FREED_MS = 300;
/** Rows of one batch. */
const BATCH = 4096;

/** Opens connections, closes all of them, lets them be forgotten; again and again. */
export async function job({ connections, waves, describes }: MemoryJob): Promise<MemoryResult> {
  const machine = newMachine(describes);
  const rows = new PacketRows(BATCH);
  const segments = new Segments(rows, WORLD);
  let attributed = 0;
  let serial = 0;
  const flush = (): void => {
    machine.push({ type: 'packets', rows });
    rows.clear();
    machine.take();
  };
  const each = (write: (n: number) => void): void => {
    for (let n = 0; n < connections; n++) {
      write(serial + n);
      if (rows.length > BATCH - 8) flush();
    }
    flush();
  };
  const empty = await state();
  const idleMegabytes = resident();
  let bytesEach = 0;
  let openMegabytes = 0;
  const afterMegabytes: number[] = [];
  const afterStateMegabytes: number[] = [];
  for (let wave = 0; wave < waves; wave++) {
    each((n) => segments.open(n));
    if (wave === 0) {
      bytesEach = ((await state()) - empty) / connections;
      openMegabytes = resident();
    }
    each((n) => segments.close(n));
    serial += connections;
    for (let second = 0; second < REST_SECONDS; second += TICK_SECONDS) {
      segments.wait(TICK_SECONDS);
      machine.push({ type: 'tick', time: segments.now() });
      machine.take();
    }
    afterStateMegabytes.push(((await state()) - empty) / 2 ** 20);
    afterMegabytes.push(resident());
  }
  for (const event of machine.finish()) {
    if (event.type === 'summary') attributed = event.summary.connections.attributed;
  }
  return {
    bytesEach,
    idleMegabytes,
    openMegabytes,
    afterMegabytes,
    afterStateMegabytes,
    attributed,
  };
}

function newMachine(describes: boolean): Correlator {
  const interfaces = new Interfaces();
  // The numbers that rows name.
  for (const name of ['vethclient', 'vethpod']) interfaces.id({ name });
  if (interfaces.name(NEAR) === undefined || interfaces.name(FAR) === undefined) {
    throw new Error('interfaces are numbered otherwise');
  }
  const machine = new Correlator({
    interfaces,
    baseSeconds: START_SECONDS,
    describes,
    packetsOnly: !describes,
  });
  const reader = new IptablesSaveReader({});
  for (const piece of iptablesSave(WORLD, 4)) reader.feed(Buffer.from(piece));
  reader.end();
  for (const rules of reader.dumps) {
    machine.push({ type: 'rules', rules, services: iptablesServices(rules) });
  }
  machine.take();
  return machine;
}

/** Heap and buffers. What was let go of is freed by other threads, once the event loop turns. */
async function state(): Promise<number> {
  for (let i = 0; i < 2; i++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, FREED_MS));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const resident = (): number => process.memoryUsage.rss() / 2 ** 20;
