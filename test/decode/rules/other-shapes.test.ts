import { describe, expect, test } from 'vitest';
import { serviceChainHash } from '../../../src/decode/rules/chain-names.js';
import { iptablesServices } from '../../../src/decode/rules/iptables-services.js';
import type { Problem } from '../../../src/model/problem.js';
import { blocks } from './blocks.js';
import { dumpOf } from './dumps.js';

const lines = (nat: readonly string[], filter: readonly string[] = []): string[] =>
  blocks(iptablesServices(dumpOf(nat, filter))).flat();

describe('hostPorts', () => {
  const hooks = (chain: string, comment = ''): string[] => [
    `-A PREROUTING ${comment}-m addrtype --dst-type LOCAL -j ${chain}`,
    `-A OUTPUT ${comment}-m addrtype --dst-type LOCAL -j ${chain}`,
  ];
  const NAME = '-m comment --comment "dnat name: \\"cbr0\\" id: \\"abc\\""';
  const DN = 'CNI-DN-64e75f641d11615844d68';

  test.each([
    [
      'of the plug-in portmap',
      [
        `-A CNI-HOSTPORT-DNAT -p tcp ${NAME} -m multiport --dports 8080,8443 -j ${DN}`,
        `-A ${DN} -s 10.244.1.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK`,
        `-A ${DN} -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK`,
        `-A ${DN} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.9:80`,
        `-A ${DN} -p tcp -m tcp --dport 8443 -j DNAT --to-destination 10.244.1.9:443`,
        '-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000',
      ],
      [
        '6 local 8080 hostPort - dnat',
        `  10.244.1.9 80 <- CNI-HOSTPORT-DNAT > ${DN} (1)`,
        '6 local 8443 hostPort - dnat',
        `  10.244.1.9 443 <- CNI-HOSTPORT-DNAT > ${DN} (1)`,
      ],
    ],
    [
      'of its first versions, which asked for no ports before the chain of the container',
      [
        `-A CNI-HOSTPORT-DNAT ${NAME} -j ${DN}`,
        `-A ${DN} -p udp -m udp --dport 5300 -j DNAT --to-destination 10.244.1.9:53`,
      ],
      ['17 local 5300 hostPort - dnat', `  10.244.1.9 53 <- CNI-HOSTPORT-DNAT > ${DN} (1)`],
    ],
    [
      'at one address of the node (hostIP)',
      [
        `-A CNI-HOSTPORT-DNAT -p tcp ${NAME} -m multiport --dports 8080 -j ${DN}`,
        `-A ${DN} -d 192.0.2.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.9:80`,
      ],
      ['6 192.0.2.1 8080 hostPort - dnat', `  10.244.1.9 80 <- CNI-HOSTPORT-DNAT > ${DN} (1)`],
    ],
  ])('%s belong to no Service', (_, rules, told) => {
    expect(lines([...hooks('CNI-HOSTPORT-DNAT'), ...rules])).toEqual(told);
  });

  test('of kubenet, CRI-O and cri-dockerd are no NodePorts', () => {
    expect(
      lines([
        ...hooks('KUBE-HOSTPORTS', '-m comment --comment "kube hostport portals" '),
        '-A KUBE-HOSTPORTS -p tcp -m comment --comment "web-0_shop hostport 8080" -m tcp --dport 8080 -j KUBE-HP-ABCDEFGHIJKLMNOP',
        '-A KUBE-HP-ABCDEFGHIJKLMNOP -s 10.244.1.9/32 -m comment --comment "web-0_shop hostport 8080" -j KUBE-MARK-MASQ',
        '-A KUBE-HP-ABCDEFGHIJKLMNOP -p tcp -m comment --comment "web-0_shop hostport 8080" -m tcp -j DNAT --to-destination 10.244.1.9:80',
        '-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000',
      ]),
    ).toEqual([
      '6 local 8080 hostPort - dnat',
      '  10.244.1.9 80 <- KUBE-HOSTPORTS > KUBE-HP-ABCDEFGHIJKLMNOP (1)',
    ]);
  });
});

describe('names', () => {
  const JUMP = '-A PREROUTING -j KUBE-SERVICES';
  const chain = (name: string): string => `KUBE-SVC-${serviceChainHash(name, 'tcp')}`;
  const dispatch = (ip: string, comment: string, to: string): string =>
    `-A KUBE-SERVICES -d ${ip}/32 -p tcp ${comment === '' ? '' : `-m comment --comment "${comment}" `}-m tcp --dport 80 -j ${to}`;
  const serve = (of: string): string => `-A ${of} -p tcp -j DNAT --to-destination 10.1.0.1:80`;

  test('a rule without a comment is not named after its neighbours', () => {
    expect(
      lines([
        JUMP,
        dispatch('10.96.0.1', 'a/b:c cluster IP', chain('a/b:c')),
        dispatch('10.96.0.2', '', chain('x/y')),
        serve(chain('a/b:c')),
        serve(chain('x/y')),
      ]).filter((line) => !line.startsWith(' ')),
    ).toEqual(['6 10.96.0.1 80 clusterIP a/b:c dnat', '6 10.96.0.2 80 clusterIP - dnat']);
  });

  test('a comment on a refusal that names a chain must fit it', () => {
    const wall = (name: string, hash: string): string[] =>
      lines(
        [],
        [
          '-A FORWARD -j KUBE-PROXY-FIREWALL',
          `-A KUBE-PROXY-FIREWALL -d 192.0.2.1/32 -p tcp -m comment --comment "${name} traffic not accepted by KUBE-FW-${hash}" -m tcp --dport 80 -j DROP`,
        ],
      );
    const hash = serviceChainHash('a/b:c', 'tcp');
    expect(wall('a/b:c', hash)).toEqual(['6 192.0.2.1 80 loadBalancerIP a/b:c drop source-ranges']);
    expect(wall('a/b:d', hash)).toEqual([
      '6 192.0.2.1 80 loadBalancerIP a/b:d? drop source-ranges',
    ]);
  });
});

test('endpoints that an older iptables could not print are missed, and that is told', () => {
  const problems: Problem[] = [];
  const chain = `KUBE-SVC-${serviceChainHash('a/b', 'tcp')}`;
  const entries = iptablesServices(
    dumpOf([
      '-A PREROUTING -j KUBE-SERVICES',
      `-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "a/b cluster IP" -m tcp --dport 80 -j ${chain}`,
      `-A ${chain} -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-A`,
      `-A ${chain} -j KUBE-SEP-B`,
      '-A KUBE-SEP-A -p tcp -m tcp -j DNAT [unsupported revision]',
      '-A KUBE-SEP-B -p tcp -m tcp -j DNAT --to-destination :0 --persistent',
    ]),
    problems,
  );
  expect(blocks(entries)).toEqual([['6 10.96.0.1 80 clusterIP a/b: dnat']]);
  expect(problems).toMatchObject([{ code: 'rules-unreadable-target', lost: 2, fatal: false }]);
});
