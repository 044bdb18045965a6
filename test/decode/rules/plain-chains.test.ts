import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ChainGraph } from '../../../src/decode/rules/chain-graph.js';
import { iptablesServices } from '../../../src/decode/rules/iptables-services.js';
import { drain } from '../../../src/decode/rules/steps.js';
import type { Problem } from '../../../src/model/problem.js';
import type { Chain, IptablesRules } from '../../../src/model/ruleset.js';
import { dumpOf, onlyDump, read, recorded } from './dumps.js';
import { writeRules } from './kube-proxy.js';
import { BASE, PODS, SERVICES } from './services.js';

const RECORDINGS = [
  '1.25-iptables-nft.iptables-save.txt.gz',
  '1.25-iptables-nft.ip6tables-save.txt.gz',
  '1.30-iptables-nft.iptables-save.txt.gz',
  '1.30-iptables-nft.ip6tables-save.txt.gz',
  '1.30-iptables-legacy.iptables-save.txt.gz',
  '1.36-iptables-nft.iptables-save.txt.gz',
  '1.36-iptables-nft.ip6tables-save.txt.gz',
  '1.36-hostport.iptables-save.txt.gz',
];

/** The same rules as chains of any origin, of which every rule is read word by word. */
function wordByWord(rules: IptablesRules): IptablesRules {
  const tables = new Map(
    [...rules.tables].map(([name, { chains }]) => [
      name,
      { name, chains: new Map<string, Chain>(chains) },
    ]),
  );
  return { ...rules, tables };
}

/** Everything that is found, with what is said about it. */
function found(rules: IptablesRules): unknown {
  const problems: Problem[] = [];
  const entries = iptablesServices(rules, problems);
  return JSON.parse(JSON.stringify([entries, problems]));
}

function plainChains(rules: IptablesRules): string[] {
  const nat = rules.tables.get('nat');
  if (nat === undefined) return [];
  const graph = new ChainGraph(nat);
  return [...nat.chains.keys()].filter((name) => drain(graph.node(name))?.plain !== undefined);
}

describe('chains in a plain shape are read as if every rule were read word by word', () => {
  test.each(RECORDINGS)('%s', (name) => {
    const rules = onlyDump(recorded(name));
    expect(found(rules)).toEqual(found(wordByWord(rules)));
    expect(plainChains(wordByWord(rules))).toEqual([]);
  });

  test.each(['1.30-iptables-nft.iptables-save.txt.gz', '1.36-iptables-nft.ip6tables-save.txt.gz'])(
    '%s has all balancing chains without affinity in that shape',
    (name) => {
      const rules = onlyDump(recorded(name));
      const chains = rules.tables.get('nat')?.chains ?? new Map<string, Chain>();
      const balancers = [...chains.values()]
        .filter((chain) => /^KUBE-SV[CL]-/.test(chain.name))
        .filter((chain) => chain.rules.some(({ target }) => target?.name.startsWith('KUBE-SEP-')))
        .filter((chain) => !chain.rules.some(({ text }) => text.includes('--rcheck')));
      expect(balancers.length).toBeGreaterThan(2);
      expect(plainChains(rules).sort()).toEqual(balancers.map((chain) => chain.name).sort());
    },
  );

  test.each([14, 17, 19, 21, 24, 26, 27, 30, 36])('all Services of 1.%i', (minor) => {
    const ports = SERVICES.map(([, port], i) => ({
      ...BASE,
      ...port,
      name: `web-${i}`,
      clusterIP: `10.96.1.${i}`,
      ...(port.nodePort !== undefined && { nodePort: 30_000 + i }),
      ...(port.externalIPs && { externalIPs: [`192.0.2.${i}`] }),
      ...(port.loadBalancerIPs && { loadBalancerIPs: [`198.51.100.${i}`] }),
    }));
    for (const large of [false, true]) {
      const { nat, filter } = writeRules(ports, { minor, detector: PODS, large });
      const rules = dumpOf(nat, filter);
      expect(plainChains(rules).length).toBeGreaterThan(5);
      expect(found(rules)).toEqual(found(wordByWord(rules)));
    }
  });
});

const SVC = 'KUBE-SVC-ABCDEFGHIJKLMNOP';
const SEP = 'KUBE-SEP-ABCDEFGHIJKLMNO';
const DNAT = '-p tcp -m tcp -j DNAT --to-destination';
/** A Service with two endpoints, of which one or another rule is replaced. */
const service = (replaced: Readonly<Record<string, readonly string[]>>): string[] => {
  const rules: Record<string, readonly string[]> = {
    services: [`-A KUBE-SERVICES -d 10.96.0.9/32 -p tcp -m tcp --dport 80 -j ${SVC}`],
    masq: [
      `-A ${SVC} ! -s 10.244.0.0/16 -d 10.96.0.9/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ`,
    ],
    first: [`-A ${SVC} -m statistic --mode random --probability 0.50000000000 -j ${SEP}A`],
    last: [`-A ${SVC} -j ${SEP}B`],
    hairpin: [`-A ${SEP}A -s 10.1.1.1/32 -j KUBE-MARK-MASQ`],
    one: [`-A ${SEP}A ${DNAT} 10.1.1.1:8080`],
    other: [`-A ${SEP}B ${DNAT} 10.1.1.2:8080`],
    mark: ['-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000'],
    ...replaced,
  };
  return ['-A PREROUTING -j KUBE-SERVICES', ...Object.values(rules).flat()];
};

describe('what is almost plain', () => {
  test.each<[string, Record<string, readonly string[]>, boolean]>([
    ['nothing else', {}, true],
    ['a comment', { last: [`-A ${SVC} -m comment --comment "a b" -j ${SEP}B`] }, true],
    ['a word for a comment', { last: [`-A ${SVC} -m comment --comment ab -j ${SEP}B`] }, true],
    ['no last way', { last: [] }, true],
    ['IPv6', { other: [`-A ${SEP}B ${DNAT} [fd00::4]:8080`] }, true],
    [
      'probability 1',
      { last: [`-A ${SVC} -m statistic --mode random --probability 1.00000000000 -j ${SEP}B`] },
      true,
    ],
    ['an escaped comment', { last: [`-A ${SVC} -m comment --comment "a\\"b" -j ${SEP}B`] }, false],
    [
      'a comment that is an option',
      { last: [`-A ${SVC} -m comment --comment -j -j ${SEP}B`] },
      true,
    ],
    ['two ways to one endpoint', { last: [`-A ${SVC} -j ${SEP}A`] }, false],
    [
      'something behind the last way',
      { last: [`-A ${SVC} -j ${SEP}B`, `-A ${SVC} -j ${SEP}A`] },
      false,
    ],
    ['a condition on a way', { last: [`-A ${SVC} -s 10.0.0.0/8 -j ${SEP}B`] }, false],
    ['a goto', { last: [`-A ${SVC} -g ${SEP}B`] }, false],
    [
      'every nth',
      { first: [`-A ${SVC} -m statistic --mode nth --every 2 --packet 0 -j ${SEP}A`] },
      false,
    ],
    [
      'a negated probability',
      { first: [`-A ${SVC} -m statistic --mode random ! --probability 0.50000000000 -j ${SEP}A`] },
      false,
    ],
    [
      'too much probability',
      { first: [`-A ${SVC} -m statistic --mode random --probability 1.50000000000 -j ${SEP}A`] },
      false,
    ],
    [
      'many digits',
      {
        first: [
          `-A ${SVC} -m statistic --mode random --probability 0.5000000000000000001 -j ${SEP}A`,
        ],
      },
      false,
    ],
    ['an endpoint of no chain', { last: [`-A ${SVC} -j KUBE-SEP-QQQQQQQQQQQQQQQQ`] }, false],
    ['a lower case name', { last: [`-A ${SVC} -j KUBE-SEP-abcdefghijklmnop`] }, false],
    [
      'an endpoint of another protocol',
      { other: [`-A ${SEP}B -p udp -m udp -j DNAT --to-destination 10.1.1.2:8080`] },
      false,
    ],
    [
      'an endpoint for any protocol',
      { other: [`-A ${SEP}B -j DNAT --to-destination 10.1.1.2:8080`] },
      false,
    ],
    ['an endpoint without a port', { other: [`-A ${SEP}B ${DNAT} 10.1.1.2`] }, false],
    ['a range of endpoints', { other: [`-A ${SEP}B ${DNAT} 10.1.1.2-10.1.1.9:8080`] }, false],
    ['a persistent endpoint', { other: [`-A ${SEP}B ${DNAT} 10.1.1.2:8080 --persistent`] }, false],
    ['an endpoint that is no address', { other: [`-A ${SEP}B ${DNAT} 10.1.1.02:8080`] }, false],
    ['an address that is too large', { other: [`-A ${SEP}B ${DNAT} 10.1.1.256:8080`] }, false],
    ['a port that is too large', { other: [`-A ${SEP}B ${DNAT} 10.1.1.2:65536`] }, false],
    ['a port of six digits', { other: [`-A ${SEP}B ${DNAT} 10.1.1.2:008080`] }, false],
    ['IPv4 in brackets', { other: [`-A ${SEP}B ${DNAT} [10.1.1.2]:8080`] }, false],
    [
      'an endpoint whose address is not shown',
      { other: [`-A ${SEP}B -p tcp -m tcp -j DNAT`] },
      false,
    ],
    [
      'two endpoints in one chain',
      { other: [`-A ${SEP}B ${DNAT} 10.1.1.2:1`, `-A ${SEP}B ${DNAT} 10.1.1.3:1`] },
      false,
    ],
    [
      'affinity',
      {
        first: [
          `-A ${SVC} -m recent --rcheck --seconds 10 --reap --name ${SEP}A --mask 255.255.255.255 --rsource -j ${SEP}A`,
        ],
      },
      false,
    ],
    ['two blanks', { last: [`-A ${SVC}  -j ${SEP}B`] }, false],
    ['a tab', { last: [`-A ${SVC} -m comment --comment a\t-j ${SEP}B`] }, false],
    ['an open quote', { hairpin: [`-A ${SEP}A -m comment --comment "a -j KUBE-MARK-MASQ`] }, false],
    ['a rule without words', { hairpin: [`-A ${SEP}A`] }, false],
    ['a blank at the end', { last: [`-A ${SVC} -j ${SEP}B `] }, false],
    ['a mark that leads somewhere', { mark: [`-A KUBE-MARK-MASQ -j ${SEP}A`] }, false],
    ['a mark that ends everything', { mark: ['-A KUBE-MARK-MASQ -j ACCEPT'] }, false],
    ['no chain for the mark', { mark: [] }, true],
    [
      'a Service of another protocol',
      { services: [`-A KUBE-SERVICES -d 10.96.0.9/32 -p udp -m udp --dport 80 -j ${SVC}`] },
      true,
    ],
    [
      'a Service of any protocol',
      { services: [`-A KUBE-SERVICES -d 10.96.0.9/32 -j ${SVC}`] },
      true,
    ],
  ])('%s gives the same', (_, replaced, isPlain) => {
    const rules = dumpOf(service(replaced));
    expect(found(rules)).toEqual(found(wordByWord(rules)));
    expect(plainChains(rules).includes(SVC)).toBe(isPlain);
  });

  test('words and lines in places where they do not belong give the same', () => {
    const bytes = recorded('1.36-iptables-nft.iptables-save.txt.gz');
    const lines = bytes.toString().split('\n');
    const whole = plainChains(onlyDump(bytes)).length;
    const own = lines.flatMap((line, i) => (/-A KUBE-S(?:VC|VL|EP)-/.test(line) ? [i] : []));
    const odd = ['!', '-g', '-j', '"', '\\', '', '\t', '--persistent', '-p udp', '0.5', '[::1]:1'];
    const change = fc.record({
      at: fc.constantFrom(...own),
      from: fc.constantFrom(...own),
      word: fc.nat(40),
      other: fc.nat(40),
      how: fc.constantFrom('word', 'odd', 'character', 'twice', 'gone', 'tail'),
    });
    const plain: number[] = [];
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), (changes) => {
        const mutated = lines.slice();
        for (const { at, from, word, other, how } of changes) {
          const line = mutated[at] ?? '';
          const words = line.split(' ');
          const others = (lines[from] ?? '').split(' ');
          const place = word % words.length;
          if (how === 'word') words[place] = others[other % others.length] ?? '';
          else if (how === 'odd') words.splice(place, word % 2, odd[other % odd.length] ?? '');
          else if (how === 'tail') words.splice(place, words.length, ...others.slice(-(other % 7)));
          mutated[at] = words.join(' ');
          if (how === 'character') {
            const cut = (word * 41 + other) % (line.length + 1);
            mutated[at] =
              `${line.slice(0, cut)}${String.fromCharCode(33 + other)}${line.slice(cut + 1)}`;
          } else if (how === 'twice') mutated[at] = `${line}\n${lines[from] ?? ''}`;
          else if (how === 'gone') mutated[at] = '';
        }
        const text = mutated.join('\n');
        for (const rules of read(text).dumps) {
          const got = found(rules);
          expect(got).toEqual(found(wordByWord(rules)));
          if (rules.tables.has('nat')) plain.push(plainChains(rules).length);
        }
      }),
      { numRuns: 120, seed: 23_112_026 },
    );
    // The changes did matter, and left enough to compare.
    expect(plain.filter((count) => count < whole).length).toBeGreaterThan(40);
    expect(plain.filter((count) => count > whole / 2).length).toBeGreaterThan(40);
  });
});
