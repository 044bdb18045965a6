import { describe, expect, it } from 'vitest';
import { parseCidr } from '../../src/cli/cidr.js';
import { createFilter, type Filter } from '../../src/cli/filter.js';
import type { Attribution, OutputEvent } from '../../src/model/attribution.js';
import { attribution, close, summary, UNKNOWN } from '../sinks/events.js';

const NONE: Filter = {
  services: [],
  pods: [],
  namespaces: [],
  clients: [],
  ports: [],
  protocols: [],
  verdicts: [],
  outcomes: [],
  nodes: [],
};

const ranges = (...texts: string[]) => texts.map((text) => parseCidr(text) ?? expect.fail(text));
const shows = (filter: Partial<Filter>, event: OutputEvent): boolean =>
  createFilter({ ...NONE, ...filter })([event]).length === 1;
const unknown: OutputEvent = { type: 'attribution', attribution: UNKNOWN };

describe('a filter', () => {
  it.each<[string, Partial<Filter>, boolean]>([
    ['that asks for nothing', {}, true],
    ['for its Service', { services: [{ namespace: 'default', name: 'nginx' }] }, true],
    [
      'for a Service of the name elsewhere',
      { services: [{ namespace: 'shop', name: 'nginx' }] },
      false,
    ],
    [
      'for one of two Services',
      {
        services: [
          { namespace: 'a', name: 'b' },
          { namespace: 'default', name: 'nginx' },
        ],
      },
      true,
    ],
    [
      'for its backend Pod',
      { pods: [{ namespace: 'default', name: 'nginx-86c57db685-vskrb' }] },
      true,
    ],
    ['for its client Pod', { pods: [{ namespace: 'default', name: 'client' }] }, true],
    ['for another Pod', { pods: [{ namespace: 'default', name: 'nginx' }] }, false],
    ['for its namespace', { namespaces: ['default'] }, true],
    ['for another namespace', { namespaces: ['shop', 'kube-system'] }, false],
    ['for its client', { clients: ranges('10.44.0.9') }, true],
    ["for its client's range", { clients: ranges('10.44.0.0/16') }, true],
    ['for a range whose last bit differs', { clients: ranges('10.44.0.8/32') }, false],
    ['for a range that ends before it', { clients: ranges('10.44.0.0/29') }, false],
    ['for all of IPv4', { clients: ranges('0.0.0.0/0') }, true],
    ['for all of IPv6', { clients: ranges('::/0') }, false],
    ['for its port', { ports: [80] }, true],
    ['for the port of its client', { ports: [36033] }, false],
    ['for its protocol', { protocols: ['tcp'] }, true],
    ['for another protocol', { protocols: ['udp', 'sctp'] }, false],
    ['for its verdict', { verdicts: ['attributed'] }, true],
    ['for other verdicts', { verdicts: ['conflict', 'unattributed'] }, false],
    ['for its outcome', { outcomes: ['established'] }, true],
    ['for another outcome', { outcomes: ['refused'] }, false],
    ['for its node', { nodes: ['node01'] }, true],
    ['for another node', { nodes: ['node02'] }, false],
    ['for its namespace and its port', { namespaces: ['default'], ports: [80] }, true],
    ['for its namespace and another port', { namespaces: ['default'], ports: [443] }, false],
  ])('%s: the example is shown: %s %s', (_, filter, expected) => {
    expect(shows(filter, attribution())).toBe(expected);
    expect(shows(filter, close())).toBe(expected);
  });

  it.each<[string, Partial<Filter>, boolean]>([
    ['for a range of IPv6', { clients: ranges('fd00:10:244::/47') }, true],
    ['for another range of IPv6', { clients: ranges('fd00:10:246::/47') }, false],
    ['for all of IPv4', { clients: ranges('0.0.0.0/0') }, false],
    ['for a Service', { services: [{ namespace: 'default', name: 'nginx' }] }, false],
    ['for a namespace', { namespaces: ['default'] }, false],
    ['for a node', { nodes: ['node01'] }, false],
  ])('%s: a connection of which little is known is shown: %s %s', (_, filter, expected) => {
    expect(shows(filter, unknown)).toBe(expected);
  });

  it('finds the Pods that a conflict names', () => {
    const pod = { namespace: 'default', name: 'claimed' };
    const claims = [{ evidence: 'packets', backend: { ip: '10.0.0.1', port: 1, pod } }] as const;
    expect(shows({ pods: [pod] }, attribution({ verdict: 'conflict', claims }))).toBe(true);
  });

  it('lets losses, notices and the summary pass', () => {
    const filter = createFilter({ ...NONE, ports: [1] });
    const events: OutputEvent[] = [
      { type: 'loss', loss: { source: 'ring', count: 1, detail: '' } },
      { type: 'notice', notice: { code: 'x', detail: '' } },
      summary(),
    ];
    expect(filter(events)).toEqual(events);
  });

  it('hands the events on untouched if it asks for nothing', () => {
    const events = [attribution()];
    expect(createFilter(NONE)(events)).toBe(events);
  });

  it('keeps showing a connection that it has shown, until it is closed', () => {
    const filter = createFilter({ ...NONE, outcomes: ['refused'] });
    const says = (change: Partial<Attribution>) => filter([attribution(change)]).length;
    expect(says({ outcome: 'open' })).toBe(0);
    expect(says({ outcome: 'refused' })).toBe(1);
    expect(says({ outcome: 'established' })).toBe(1);
    expect(says({ connection: 'another', outcome: 'established' })).toBe(0);
    expect(filter([close({ outcome: 'established' })])).toHaveLength(1);
    expect(says({ outcome: 'established' })).toBe(0);
  });
});
