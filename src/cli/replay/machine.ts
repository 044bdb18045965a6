import { Correlator } from '../../correlate/correlator.js';
import type { OutputEvent } from '../../model/attribution.js';
import type { Interfaces } from '../../model/interfaces.js';
import { secondsOf } from '../../model/time.js';
import type { ReplayInputs } from '../../sources/files/open.js';

interface Wish {
  readonly saysDirect?: boolean;
  readonly describes?: boolean;
  /** In place of what the recording's run had. */
  readonly udpIdleNs?: number | undefined;
}

/** The machine for recorded inputs: whoever replays them hears the same of it. */
export function machineFor(
  inputs: ReplayInputs,
  interfaces: Interfaces,
  wish: Wish = {},
): Correlator {
  const { recorded, firstTime, lastRules, nodes } = inputs;
  const node = nodes.length === 1 ? nodes[0] : undefined;
  const udpIdleNs = wish.udpIdleNs ?? recorded?.udpIdleNs;
  const { saysDirect, describes } = wish;
  return new Correlator({
    interfaces,
    baseSeconds: firstTime === undefined ? 0 : secondsOf(firstTime),
    severalNodes: nodes.length > 1,
    ...(lastRules !== undefined && { lastRules }),
    packetsOnly: !inputs.hasConntrack && nodes.length === 1,
    ...(node !== undefined && node !== '' && { node }),
    ...(saysDirect !== undefined && { saysDirect }),
    ...(describes !== undefined && { describes }),
    ...(udpIdleNs !== undefined && { udpIdleNs }),
    ...(recorded !== undefined && { firstListingIsOld: recorded.firstListingIsOld }),
  });
}

/** Its last words; a live run does not count the packets of its inputs, nor does its recording. */
export function finish(machine: Correlator, inputs: ReplayInputs): OutputEvent[] {
  return machine.finish(inputs.recorded === undefined ? inputs.counts.packets : undefined);
}
