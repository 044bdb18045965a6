import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readNftJson } from '../../../src/decode/rules/nft-json.js';
import { exploreWalk } from '../../../src/explain/walk/explore.js';
import { nftablesBaseChains } from '../../../src/explain/walk/nftables.js';
import type { NftablesRules, NftElement } from '../../../src/model/ruleset.js';
import { fraction, NONE, ONE, plus } from '../../../src/model/share.js';
import type { Distribution, FirstPacket, NodeFacts, WalkEnding } from '../../../src/model/walk.js';
import { seeded } from '../../support/seeded.js';

const PCAPS = fileURLToPath(new URL('../../../pcaps/', import.meta.url));
const NODE = '192.168.77.11';
const POD = '10.244.1.2';
const OUTSIDE = '192.168.77.100';
const FACTS: NodeFacts = { addresses: new Set([NODE, '10.244.1.1']) };

interface Json {
  readonly [key: string]: unknown;
}

function recorded(scenario: string, family: 4 | 6 = 4): NftablesRules {
  const bytes = gunzipSync(readFileSync(join(PCAPS, scenario, 'nft-ruleset.json.gz')));
  const rules = readNftJson(bytes).rules.find((one) => one.family === family);
  if (!rules) throw new Error('no rules');
  return rules;
}

/** A table of one base chain in prerouting, and of other objects. */
function table(
  expressions: readonly (readonly unknown[])[],
  ...objects: readonly Json[]
): NftablesRules {
  const chain = (name: string, more: Json = {}): Json => ({
    chain: { family: 'ip', table: 'kube-proxy', name, ...more },
  });
  const items = [
    { table: { family: 'ip', name: 'kube-proxy' } },
    chain('base', { type: 'nat', hook: 'prerouting', prio: -100, policy: 'accept' }),
    ...objects,
    ...expressions.map((expr, i) => rule('base', expr, 10 + i)),
  ];
  const { rules } = readNftJson(Buffer.from(JSON.stringify({ nftables: items })));
  const [own] = rules;
  if (!own) throw new Error('no rules');
  return own;
}

function rule(chain: string, expr: readonly unknown[], handle = 1): Json {
  return { rule: { family: 'ip', table: 'kube-proxy', chain, handle, expr } };
}

function chainOf(name: string): Json {
  return { chain: { family: 'ip', table: 'kube-proxy', name } };
}

function set(name: string, type: unknown, elem: readonly unknown[], more: Json = {}): Json {
  return { set: { family: 'ip', table: 'kube-proxy', name, type, elem, ...more } };
}

function packet(source: string, destination: string, port: number, protocol = 6): FirstPacket {
  return {
    protocol,
    source,
    sourcePort: 40_000,
    destination,
    port,
    from: { kind: 'interface', name: 'veth1' },
  };
}

const walk = (
  rules: NftablesRules,
  source: string,
  destination: string,
  port: number,
  facts = FACTS,
): Distribution => exploreWalk([rules], packet(source, destination, port), facts);

/** Address, protocol and port of an element of map service-ips. */
function partsOf(element: NftElement | undefined): readonly [string, string, number] {
  const { concat = [] } = (element?.key ?? {}) as { concat?: readonly unknown[] };
  const [ip, protocol, port] = concat;
  return [String(ip), String(protocol), Number(port)];
}

const ends = ({ endings }: Distribution): string[] =>
  endings.map(
    ({ kind, ip, port, share, masquerade, path, affinity }) =>
      `${kind}${ip === undefined && port === undefined ? '' : ` ${ip}:${port}`} ${fraction(share)}${masquerade === 'yes' ? ' masqueraded' : ''}${affinity ? ' by affinity' : ''}${path.length > 0 ? ` by ${path.join(', ')}` : ''}`,
  );

describe('kube-proxy as it was recorded', () => {
  const WEB = 'KISD3DDN-default/np-cluster/tcp/';
  const LB = 'G5U4SWSJ-default/lb-cluster/tcp/http';
  const endpoints = ['10.244.1.4', '10.244.1.5', '10.244.2.3', '10.244.2.4'];

  it.each([
    [
      'a NodePort from outside is masqueraded',
      OUTSIDE,
      NODE,
      30_080,
      endpoints.map(
        (ip) =>
          `endpoint ${ip}:8080 1/2^2 masqueraded by map service-nodeports, external-${WEB}, service-${WEB}`,
      ),
    ],
    [
      "a load balancer's client within the source ranges is served",
      OUTSIDE,
      '192.168.77.200',
      80,
      ['endpoint'],
    ],
    [
      'one beyond them is dropped before anything translates',
      '172.16.0.9',
      '192.168.77.200',
      80,
      [`dropped 1 by map firewall-ips, firewall-${LB}`],
    ],
    [
      'a Service without endpoints rejects',
      POD,
      '10.96.79.12',
      80,
      ['rejected 1 by map no-endpoint-services, reject-chain'],
    ],
    [
      'its NodePort too',
      OUTSIDE,
      NODE,
      30_090,
      ['rejected 1 by map no-endpoint-nodeports, reject-chain'],
    ],
    [
      'a port that no Service has at a cluster IP is rejected',
      POD,
      '10.96.81.51',
      81,
      ['rejected 1 by cluster-ips-check'],
    ],
    [
      'an address of no Service is dropped',
      POD,
      '10.96.99.99',
      80,
      ['dropped 1 by cluster-ips-check'],
    ],
    ['what is no Service passes', POD, '10.244.2.3', 80, ['untranslated 1']],
  ])('%s', (_, source, destination, port, expected) => {
    const found = walk(recorded('1.36-nftables/05-no-endpoints'), source, destination, port);
    expect(
      expected[0] === 'endpoint' ? found.endings.map(({ kind }) => kind) : ends(found),
    ).toEqual(expected[0] === 'endpoint' ? Array(4).fill('endpoint') : expected);
    expect(found.remarks).toEqual([]);
  });

  it('an endpoint that calls its own Service is masqueraded, in both layouts', () => {
    for (const scenario of ['1.30-nftables/01-seed', '1.36-nftables/01-seed']) {
      const { endings } = walk(recorded(scenario), '10.244.1.4', '10.96.81.51', 80);
      expect(endings.map(({ ip, masquerade }) => `${ip} ${masquerade}`)).toEqual(
        endpoints.map((ip) => `${ip} ${ip === '10.244.1.4' ? 'yes' : 'no'}`),
      );
    }
  });

  it('IPv6 has rules of its own', () => {
    const rules = recorded('1.36-nftables/07-dual-stack', 6);
    const [element] = rules.maps.get('service-ips')?.elements ?? [];
    const [ip, protocol, port] = partsOf(element);
    const { endings } = exploreWalk(
      [rules, recorded('1.36-nftables/07-dual-stack')],
      packet('fd00:10:244:1::2', ip, port, protocol === 'udp' ? 17 : 6),
      FACTS,
    );
    expect(endings.length).toBeGreaterThan(0);
    for (const { kind, ip, steps } of endings) {
      expect([kind, ip?.includes(':')]).toEqual(['endpoint', true]);
      expect(new Set(steps.map(({ table: name }) => name))).toEqual(new Set(['ip6 kube-proxy']));
    }
  });

  it('the element that a map had for the packet is named', () => {
    const [{ steps } = { steps: [] }] = walk(
      recorded('1.36-nftables/01-seed'),
      POD,
      '10.96.81.51',
      80,
    ).endings;
    const step = steps.find(({ text }) => text.includes('@service-ips'));
    expect(step).toMatchObject({
      backend: 'nftables',
      hook: 'prerouting',
      table: 'ip kube-proxy',
      chain: 'services',
      position: 2,
      depth: 1,
      met: 'matched',
      text: 'ip daddr . meta l4proto . th dport vmap @service-ips',
      because: '{ 10.96.81.51 . tcp . 80 : goto service-ECO34HEO-default/nginx/tcp/ }',
      effects: [{ does: 'goto', chain: 'service-ECO34HEO-default/nginx/tcp/' }],
    });
  });
});

describe('session affinity', () => {
  const rules = recorded('1.36-nftables/03-session-affinity');
  const STICKY = '10.96.254.214';
  const name = (ip: string): string =>
    [...rules.sets.keys()].find(
      (one) => one.startsWith('affinity-') && one.endsWith(`default/sticky/tcp/__${ip}/8080`),
    ) ?? '';
  const all = ['10.244.1.4', '10.244.1.5', '10.244.2.3', '10.244.2.4'];
  const knowing = (member?: string): NodeFacts => ({
    ...FACTS,
    recent: new Map(all.map((ip) => [name(ip), new Map(ip === member ? [[POD, 5]] : [])])),
  });

  it('leads a client that a set holds to its endpoint', () => {
    const { endings } = walk(rules, POD, STICKY, 80, knowing('10.244.2.3'));
    expect(
      endings.map(({ ip, affinity, share, assuming }) => [ip, affinity, fraction(share), assuming]),
    ).toEqual([['10.244.2.3', true, '1', []]]);
    expect(endings[0]?.steps.flatMap(({ effects }) => effects)).toContainEqual({
      does: 'remember',
      list: name('10.244.2.3'),
    });
  });

  it('throws the dice for a client that none holds', () => {
    const { endings } = walk(rules, POD, STICKY, 80, knowing());
    expect(endings.map(({ ip, affinity, share }) => [ip, affinity, fraction(share)])).toEqual(
      all.map((ip) => [ip, false, '1/2^2']),
    );
  });

  it('goes both ways where nobody knows, and says what each rests on', () => {
    const { endings } = walk(rules, '10.244.1.99', STICKY, 80);
    const [one, two] = all.map(name);
    expect(endings.map(({ ip, affinity }) => [ip, affinity])).toEqual([
      ...all.map((ip) => [ip, true]),
      ...all.map((ip) => [ip, false]),
    ]);
    expect(endings[0]?.assuming).toEqual([`the set ${one} holds 10.244.1.99`]);
    expect(endings[1]?.assuming).toEqual([
      `the set ${one} does not hold 10.244.1.99`,
      `the set ${two} holds 10.244.1.99`,
    ]);
    expect(endings[7]?.assuming).toEqual([
      'none of the first 4 sets that service-EDE2N7RF-default/sticky/tcp/ asks holds 10.244.1.99',
    ]);
  });

  it('takes an element that was listed with hours to live as there still, one with seconds as unknown', () => {
    // The listing has 10.244.1.2 at 10.244.1.5 in both: for 10,786 s and for 8 s.
    const long = walk(rules, POD, STICKY, 80).endings.map(({ ip }) => ip);
    expect(long).toEqual(['10.244.1.4', '10.244.1.5']);
    const short = [...(rules.maps.get('service-ips')?.elements ?? [])].find(({ value }) =>
      JSON.stringify(value).includes('sticky-10s'),
    );
    const [ip, , port] = partsOf(short);
    const { endings } = walk(rules, POD, ip, port);
    expect(endings).toHaveLength(8);
    expect(
      endings
        .flatMap(({ steps }) => steps.map(({ because }) => because ?? ''))
        .some((one) => /there for 8 s more/.test(one)),
    ).toBe(true);
  });
});

const daddr = { payload: { protocol: 'ip', field: 'daddr' } };
const saddr = { payload: { protocol: 'ip', field: 'saddr' } };
const dport = { payload: { protocol: 'th', field: 'dport' } };
const mark = { meta: { key: 'mark' } };
const random = (mod: number, offset = 0): Json => ({ numgen: { mode: 'random', mod, offset } });
const match = (left: unknown, right: unknown, op = '=='): Json => ({ match: { op, left, right } });
const to = (addr: unknown, port?: unknown): Json => ({
  dnat: { addr, ...(port !== undefined && { port }) },
});
const concat = (...parts: readonly unknown[]): Json => ({ concat: parts });

describe('single rules', () => {
  const dnat = to('10.0.0.1');
  const served = ['endpoint 10.0.0.1:80 1'];
  const passed = ['untranslated 1'];
  it.each<readonly [string, readonly unknown[], readonly string[]]>([
    [
      'a network holds an address',
      [match(daddr, { prefix: { addr: '10.96.0.0', len: 12 } }), dnat],
      served,
    ],
    [
      'negated it does not',
      [match(daddr, { prefix: { addr: '10.96.0.0', len: 12 } }, '!='), dnat],
      passed,
    ],
    ['a range includes its ends', [match(dport, { range: [80, 81] }), dnat], served],
    ['more than', [match(dport, 79, '>'), dnat], served],
    ['not more than itself', [match(dport, 80, '>'), dnat], passed],
    ['a set in the rule', [match(daddr, { set: ['10.96.0.9', '10.96.0.10'] }), dnat], served],
    ['a set that is a list of one', [match(daddr, { set: '10.96.0.10' }), dnat], served],
    ['a catch-all', [match(daddr, { set: ['10.1.1.1', '*'] }), dnat], served],
    [
      'a concatenation with ranges',
      [
        match(concat(daddr, dport), {
          set: [concat({ prefix: { addr: '10.96.0.0', len: 16 } }, { range: [80, 90] })],
        }),
        dnat,
      ],
      served,
    ],
    [
      'another protocol has no such port',
      [match({ payload: { protocol: 'udp', field: 'dport' } }, 80), dnat],
      passed,
    ],
    [
      'another family has no such address',
      [match({ payload: { protocol: 'ip6', field: 'daddr' } }, 'fd00::1', '!='), dnat],
      passed,
    ],
    ['bits of a mark', [match({ '&': [mark, 16_384] }, 0), dnat], served],
    ['an interface by its beginning', [match({ meta: { key: 'iifname' } }, 'veth*'), dnat], served],
    ['a star that is one', [match({ meta: { key: 'iifname' } }, 'veth\\*'), dnat], passed],
    [
      'the first packet is new',
      [match({ ct: { key: 'state' } }, ['established', 'new'], 'in'), dnat],
      served,
    ],
    [
      'an address of the node',
      [match({ fib: { result: 'type', flags: 'daddr' } }, 'local', '!='), dnat],
      served,
    ],
    ['a port alone is translated', [to(undefined, 8080)], ['endpoint 10.96.0.10:8080 1']],
    [
      'a port of a range is not known',
      [to('10.0.0.1', { range: [1, 9] })],
      ['endpoint 10.0.0.1:undefined 1'],
    ],
    [
      'a redirect leads to an address of the node',
      [{ redirect: { port: 8080 } }],
      ['endpoint undefined:8080 1'],
    ],
    [
      'random numbers within a range',
      [match(random(3), { range: [0, 1] }), dnat],
      ['endpoint 10.0.0.1:80 2863311531/2^32', 'untranslated 1431655765/2^32'],
    ],
    [
      'an offset is added',
      [match(random(2, 7), 7), dnat],
      ['endpoint 10.0.0.1:80 1/2^1', 'untranslated 1/2^1'],
    ],
    [
      'a map that random numbers choose from',
      [
        to({
          map: {
            key: random(3),
            data: {
              set: [
                [0, concat('10.0.0.1', 1)],
                [1, concat('10.0.0.2', 2)],
                [2, concat('10.0.0.3', 3)],
              ],
            },
          },
        }),
      ],
      [
        'endpoint 10.0.0.1:1 715827883/2^31',
        'endpoint 10.0.0.2:2 1431655765/2^32',
        'endpoint 10.0.0.3:3 1431655765/2^32',
      ],
    ],
    [
      'a map that lacks some numbers',
      [to({ map: { key: random(2), data: { set: [[0, '10.0.0.1']] } } })],
      ['endpoint 10.0.0.1:80 1/2^1', 'untranslated 1/2^1'],
    ],
    [
      'a counter that stands nobody knows where, each number as often as another',
      [
        {
          vmap: {
            key: { numgen: { mode: 'inc', mod: 2, offset: 0 } },
            data: {
              set: [
                [0, { accept: null }],
                [1, { drop: null }],
              ],
            },
          },
        },
      ],
      ['dropped 1/2^1', 'untranslated 1/2^1'],
    ],
    ['what nobody can follow decides nothing', [{ queue: { num: 1 } }], ['undecided 1']],
    ['a statement of the future too', [{ teleport: { to: 'the moon' } }], ['undecided 1']],
    [
      'what is not known matters where something depends on it',
      [match({ meta: { key: 'skuid' } }, 0), dnat],
      [...served, ...passed],
    ],
    [
      'and where nothing does it does not',
      [match({ meta: { key: 'skuid' } }, 0), { counter: { packets: 1, bytes: 60 } }],
      passed,
    ],
    [
      'a limit may let it pass',
      [{ limit: { rate: 1, per: 'second' } }, { drop: null }],
      ['dropped 1', 'untranslated 1'],
    ],
    ['a chain that is not there', [{ jump: { target: 'gone' } }], ['undecided 1']],
    ['a map that is not there', [{ vmap: { key: daddr, data: '@gone' } }], ['undecided 1']],
    ['a set that is not there', [match(daddr, '@gone'), dnat], [...served, ...passed]],
  ])('%s', (_, expressions, expected) => {
    const found = walk(table([expressions]), POD, '10.96.0.10', 80);
    expect(ends(found)).toEqual(expected);
    if (found.endings.some(({ kind }) => kind === 'undecided')) {
      expect(found.remarks.join()).toContain('what comes behind is not known');
    }
  });

  it('each limit is a question of its own, that tells what it asks', () => {
    const limit = { rate: 10, burst: 100, per: 'second', inv: true, rate_unit: 'kbytes' };
    const rules = table([
      [{ limit: { rate: 1, burst: 5, per: 'second' } }, to('10.0.0.1')],
      [{ limit }, to('10.0.0.2')],
      [{ quota: { val: 10, val_unit: 'mbytes', inv: true } }, to('10.0.0.3')],
    ]);
    const found = walk(rules, POD, '10.96.0.10', 80).endings;
    expect(found.map(({ ip, assuming }) => [ip, assuming.at(-1)])).toEqual([
      ['10.0.0.1', 'limit rate 1/second holds (handle 10)'],
      ['10.0.0.2', 'limit rate over 10 kbytes/second holds (handle 11)'],
      ['10.0.0.3', 'quota over 10 mbytes holds (handle 12)'],
      [undefined, 'quota over 10 mbytes does not hold (handle 12)'],
    ]);
  });

  it('a hash is told as nft lists it', () => {
    const saddr = { payload: { protocol: 'ip', field: 'saddr' } };
    const rules = table([
      [match({ jhash: { mod: 3, seed: 7, offset: 2, expr: saddr } }, 2), { drop: null }],
      [match({ symhash: { mod: 4 } }, 1), { drop: null }],
    ]);
    const [last] = walk(rules, POD, '10.96.0.10', 80).endings.slice(-1);
    expect(last?.steps.filter(({ position }) => position > 0).map(({ text }) => text)).toEqual([
      'jhash ip saddr mod 3 seed 0x7 offset 2 2 drop',
      'symhash mod 4 1 drop',
    ]);
  });

  it('numbers in turn are shares of many connections, and it is said so', () => {
    const turn = { numgen: { mode: 'inc', mod: 3, offset: 0 } };
    const { endings, remarks } = walk(table([[match(turn, 1), dnat]]), POD, '10.96.0.10', 80);
    expect(endings.map(({ kind, assuming }) => [kind, assuming])).toEqual([
      ['endpoint', []],
      ['untranslated', []],
    ]);
    expect(remarks).toEqual([
      'a rule takes 3 numbers in turn by a counter that nobody tells: their shares are those of many connections',
    ]);
  });

  it('by what it leaves is asked of each endpoint, and it leaves by one interface', () => {
    const leaves = (name: string, op = '=='): Json => match({ meta: { key: 'oifname' } }, name, op);
    const forward = {
      chain: {
        family: 'ip',
        table: 'kube-proxy',
        name: 'forward',
        ...{ type: 'filter', hook: 'forward', prio: 0, policy: 'accept' },
      },
    };
    const key = random(2);
    const rules = table(
      [
        [
          {
            dnat: {
              addr: {
                map: {
                  key,
                  data: {
                    set: [
                      [0, '10.0.0.1'],
                      [1, '10.0.0.2'],
                    ],
                  },
                },
              },
            },
          },
        ],
      ],
      forward,
      rule('forward', [leaves('veth1'), { mangle: { key: mark, value: 1 } }]),
      rule('forward', [leaves('veth2'), { mangle: { key: mark, value: { '|': [mark, 2] } } }], 2),
      rule('forward', [leaves('veth*', '!='), { drop: null }], 3),
    );
    const { endings } = walk(rules, POD, '10.96.0.10', 80);
    const of = (ip: string): unknown[] =>
      endings.filter((it) => it.ip === ip).map((it) => [it.kind, it.mark, it.assuming]);
    const [not1, not2] = ['veth1', 'veth2'].map((it) => `10.0.0.1 is not reached by ${it}`);
    expect(of('10.0.0.1')).toEqual([
      ['dropped', 0, [not1, not2, '10.0.0.1 is not reached by veth+']],
      ['endpoint', 1, ['10.0.0.1 is reached by veth1']],
      ['endpoint', 2, [not1, '10.0.0.1 is reached by veth2']],
      ['endpoint', 0, [not1, not2, '10.0.0.1 is reached by veth+']],
    ]);
    expect(of('10.0.0.2')).toHaveLength(4);
  });

  it('the same question has one answer on one way', () => {
    const local = match({ fib: { result: 'type', flags: ['saddr'] } }, 'local');
    const rules = table([
      [local, { mangle: { key: mark, value: { '|': [mark, 1] } } }],
      [match({ fib: { result: 'type', flags: ['saddr'] } }, 'local', '!='), to('10.0.0.1')],
    ]);
    const { endings } = walk(rules, OUTSIDE, '10.96.0.10', 80, {});
    const said = endings.filter(({ assuming }) =>
      assuming.includes(`${OUTSIDE} is an address of the node`),
    );
    expect(said.length).toBeGreaterThan(0);
    for (const { mark: value, kind } of said) expect([value, kind]).toEqual([1, 'untranslated']);
  });

  it('what a packet was put into it is in', () => {
    const rules = table(
      [
        [{ set: { op: 'update', elem: saddr, set: '@seen' } }],
        [match(saddr, '@seen'), to('10.0.0.1')],
      ],
      set('seen', 'ipv4_addr', [], { flags: ['dynamic'] }),
    );
    expect(ends(walk(rules, POD, '10.96.0.10', 80))).toEqual(['endpoint 10.0.0.1:80 1']);
  });

  it('an element that cannot be read leaves open what is not found', () => {
    const rules = table(
      [[match(daddr, '@odd'), to('10.0.0.1')]],
      set('odd', 'ipv4_addr', [{ strange: 1 }]),
    );
    expect(ends(walk(rules, POD, '10.96.0.10', 80))).toEqual([
      'endpoint 10.0.0.1:80 1',
      'untranslated 1',
    ]);
  });

  it('a goto does not come back to where it was, a jump does', () => {
    const rules = table(
      [[{ jump: { target: 'a' } }], [to('10.0.0.9')]],
      chainOf('a'),
      chainOf('b'),
      rule('a', [{ goto: { target: 'b' } }], 2),
      rule('a', [to('10.0.0.1')], 3),
      rule('b', [{ return: null }], 4),
    );
    const [ending, ...others] = walk(rules, POD, '10.96.0.10', 80).endings;
    expect([ending?.ip, others.length]).toEqual(['10.0.0.9', 0]);
    expect(ending?.steps.map(({ chain, position, depth }) => [chain, position, depth])).toEqual([
      ['base', 1, 0],
      ['a', 1, 1],
      ['b', 1, 2],
      ['base', 2, 0],
    ]);
  });
});

describe('hostile rules', () => {
  const finish = (rules: NftablesRules): readonly WalkEnding[] =>
    walk(rules, POD, '10.96.0.10', 80).endings;

  it('chains that lead to themselves come to an end', () => {
    for (const how of ['jump', 'goto']) {
      const rules = table(
        [[{ [how]: { target: 'a' } }]],
        chainOf('a'),
        rule('a', [{ [how]: { target: 'a' } }], 2),
      );
      expect(finish(rules).map(({ kind }) => kind)).toEqual(['undecided']);
    }
  });

  it('chains that each lead to the next one twice come to an end', () => {
    const names = Array.from({ length: 24 }, (_, i) => `c${i}`);
    const rules = table(
      [[{ jump: { target: 'c0' } }]],
      ...names.map(chainOf),
      ...names
        .slice(1)
        .flatMap((name, i) => [
          rule(`c${i}`, [{ jump: { target: name } }]),
          rule(`c${i}`, [{ jump: { target: name } }]),
        ]),
    );
    expect(finish(rules).map(({ kind }) => kind)).toEqual(['undecided']);
  });

  it('dice upon dice, and unknown upon unknown, come to an end', () => {
    const dice = {
      mangle: {
        key: mark,
        value: {
          map: { key: random(100), data: { set: Array.from({ length: 100 }, (_, i) => [i, i]) } },
        },
      },
    };
    const endings = finish(table([[dice, dice, dice, dice], [dice], [dice], [dice]]));
    expect(endings.length).toBeGreaterThan(1);
    expect(endings.reduce((sum, { share }) => plus(sum, share), NONE)).toEqual(ONE);
    const unknown = Array.from({ length: 300 }, (_, i) => [
      match({ meta: { key: 'skuid' } }, i),
      { mangle: { key: mark, value: i } },
    ]);
    expect(finish(table(unknown)).length).toBeGreaterThan(1);
  });

  it('no ugly JSON throws', () => {
    const ugly: unknown[] = [
      null,
      1,
      -1,
      1.5,
      '',
      '@',
      '*',
      [],
      {},
      [[]],
      { set: null },
      { concat: [] },
      { map: {} },
      { numgen: { mod: 0 } },
      { numgen: { mode: 'random', mod: 4_294_967_296 } },
      { prefix: { addr: '1.2.3.4', len: 99 } },
      { range: [1] },
      { '&': [] },
      { '<<': [mark, 4_000_000_000] },
      { fib: {} },
      { ct: null },
      { payload: null },
    ];
    for (const one of ugly) {
      for (const two of ugly) {
        const rules = table([
          [one],
          [match(one, two), { counter: null }],
          [match(dport, one, String(two)), { jump: one }],
          [{ vmap: { key: one, data: two } }],
          [{ mangle: { key: mark, value: one } }, { set: { op: 'add', elem: one, set: two } }],
          [to({ map: { key: one, data: { set: [[two, one]] } } }, two)],
          [{ dnat: one }, { snat: two }],
        ]);
        for (const chain of nftablesBaseChains(rules)) {
          expect(chain.hook).toBe('prerouting');
        }
        expect(finish(rules).length).toBeGreaterThan(0);
      }
    }
  });

  it('mutated listings of nodes throw nothing, and no way is lost', () => {
    const next = seeded(20_261_123);
    const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(next() * list.length)];
    for (const scenario of [
      '1.30-nftables/03-session-affinity',
      '1.36-nftables/04-nodeport-lb-external',
    ]) {
      const text = gunzipSync(
        readFileSync(join(PCAPS, scenario, 'nft-ruleset.json.gz')),
      ).toString();
      const listing = JSON.parse(text) as { nftables: Json[] };
      const own = listing.nftables.filter((item) => JSON.stringify(item).includes('"kube-proxy"'));
      for (let round = 0; round < 25; round++) {
        const items = own.map((item) => (next() < 0.15 ? mutated(item, next, pick) : item));
        const [rules] = readNftJson(Buffer.from(JSON.stringify({ nftables: items }))).rules;
        if (!rules) continue;
        for (const [source, destination, port] of [
          [POD, '10.96.254.214', 80],
          [OUTSIDE, NODE, 30_080],
          [OUTSIDE, '192.168.77.200', 80],
        ] as const) {
          const { endings } = walk(rules, source, destination, port, next() < 0.5 ? FACTS : {});
          expect(endings.length).toBeGreaterThan(0);
          if (endings.every(({ assuming }) => assuming.length === 0)) {
            expect(endings.reduce((sum, { share }) => plus(sum, share), NONE)).toEqual(ONE);
          }
        }
      }
    }
  }, 60_000);
});

/** A value with one thing in it changed. */
function mutated(
  value: unknown,
  next: () => number,
  pick: <T>(list: readonly T[]) => T | undefined,
): unknown {
  if (typeof value !== 'object' || value === null || next() < 0.1) {
    return pick([
      null,
      0,
      1,
      2 ** 33,
      'x',
      '@cluster-ips',
      '10.96.0.10',
      [],
      {},
      [value, value],
      { set: [value] },
    ]);
  }
  const keys = Object.keys(value);
  const key = pick(keys);
  if (key === undefined) return value;
  if (Array.isArray(value)) {
    return value.map((one, i) => (String(i) === key ? mutated(one, next, pick) : one));
  }
  const copy: Record<string, unknown> = { ...value };
  const kept = ['family', 'table', 'name', 'hook'].includes(key);
  if (!kept && next() < 0.1) delete copy[key];
  else if (!kept) copy[key] = mutated(copy[key], next, pick);
  return copy;
}
