import { describe, expect, it } from 'vitest';
import { restoreInput, syncInput } from '../../src/lab/rules.js';
import type { LabOptions, LabService } from '../../src/lab/spec.js';
import { TUTORIAL } from '../../src/lab/tutorial.js';

const { clusterCIDR: _, ...WITHOUT_CIDR } = TUTORIAL;

const ONE: LabService = {
  namespace: 'shop',
  name: 'cart',
  portName: 'http',
  protocol: 'tcp',
  port: 80,
  clusterIP: '10.96.0.7',
  targetPort: 8080,
  endpoints: ['nginx-86c57db685-vskrb'],
};

const DUAL: LabOptions = {
  ...TUTORIAL,
  podCIDR6: 'fd00:10:244::/64',
  gateway6: 'fd00:10:244::ffff',
  pods: TUTORIAL.pods.map((pod, index) => ({ ...pod, ip6: `fd00:10:244::${index + 1}` })),
};

/** The rules of a chain, in order, without its name. */
function chain(text: string, name: string): string[] {
  const begin = `-A ${name} `;
  return text
    .split('\n')
    .filter((line) => line.startsWith(begin))
    .map((line) => line.slice(begin.length));
}

describe('the tutorial case', () => {
  it('carries the names that Kubernetes 1.19 gave, the third rule with a probability of one half', () => {
    const text = restoreInput(TUTORIAL, 4);
    expect(chain(text, 'KUBE-SVC-4N57TFCL4MD7ZTDA')[2]).toBe(
      '-m comment --comment "default/nginx:" -m statistic --mode random --probability 0.5000000000 -j KUBE-SEP-RNUA2WF32F4IZIFK',
    );
    expect(chain(text, 'KUBE-SVC-4N57TFCL4MD7ZTDA')).toHaveLength(4);
    expect(chain(text, 'KUBE-SEP-RNUA2WF32F4IZIFK')).toEqual([
      '-s 10.44.0.1 -m comment --comment "default/nginx:" -j KUBE-MARK-MASQ',
      '-p tcp -m comment --comment "default/nginx:" -m tcp -j DNAT --to-destination 10.44.0.1:80',
    ]);
  });

  it('has its endpoints in the order of their addresses, as kube-proxy sorts them', () => {
    const [service] = TUTORIAL.services;
    const addresses = service?.endpoints.map(
      (name) => TUTORIAL.pods.find((pod) => pod.name === name)?.ip,
    );
    expect(addresses).toEqual(['10.32.0.4', '10.32.0.5', '10.44.0.1', '10.44.0.2']);
  });

  it('is named otherwise today', () => {
    const text = restoreInput({ ...TUTORIAL, chainNames: 'current' }, 4);
    expect(text).toContain(':KUBE-SVC-2CMXP7HKUVJN7L6M - [0:0]\n');
    expect(text).not.toContain('4N57TFCL4MD7ZTDA');
    expect(chain(text, 'KUBE-SVC-2CMXP7HKUVJN7L6M')[0]).toBe(
      '! -s 10.32.0.0/12 -d 10.111.248.8/32 -p tcp -m comment --comment "default/nginx cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ',
    );
    expect(chain(text, 'KUBE-SVC-2CMXP7HKUVJN7L6M')[1]).toContain(
      '--comment "default/nginx -> 10.32.0.4:80" -m statistic --mode random --probability 0.2500000000 ',
    );
  });
});

describe('what is not in every node', () => {
  it('has no masquerade rule and no rules by source without a cluster CIDR', () => {
    for (const chainNames of ['1.19', 'current'] as const) {
      const text = restoreInput({ ...WITHOUT_CIDR, chainNames }, 4);
      expect(text).not.toContain('! -s 10.');
      expect(text).not.toContain('conntrack pod source rule');
    }
  });

  it('rejects what is sent to a Service without endpoints, and gives it no chain', () => {
    const text = restoreInput(
      { ...TUTORIAL, services: [{ ...ONE, endpoints: [], nodePort: 30_080 }] },
      4,
    );
    expect(chain(text, 'KUBE-SERVICES')).toContain(
      '-d 10.96.0.7/32 -p tcp -m comment --comment "shop/cart:http has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable',
    );
    expect(chain(text, 'KUBE-EXTERNAL-SERVICES')).toHaveLength(1);
    expect(text).not.toContain('KUBE-SVC-');
  });

  it('asks for the last choice of a client first when the Service has affinity', () => {
    const text = restoreInput({ ...TUTORIAL, services: [{ ...ONE, affinitySeconds: 10 }] }, 4);
    const sep = /KUBE-SEP-\w+/.exec(text)?.[0] ?? '';
    const rules = chain(text, /KUBE-SVC-\w+/.exec(text)?.[0] ?? '');
    expect(rules[0]).toContain(`-m recent --rcheck --seconds 10 --reap --name ${sep} --rsource -j`);
    expect(rules[1]).not.toContain('recent');
    expect(chain(text, sep)[1]).toContain(`-m recent --set --name ${sep} --rsource -m tcp -j DNAT`);
  });

  it.each([
    ['1.19', ['KUBE-MARK-MASQ', 'KUBE-SVC-']],
    ['current', ['KUBE-EXT-']],
  ] as const)('reaches a node port in the way of %s', (chainNames, targets) => {
    const text = restoreInput(
      { ...TUTORIAL, chainNames, services: [{ ...ONE, nodePort: 30_080 }] },
      4,
    );
    const rules = chain(text, 'KUBE-NODEPORTS');
    expect(rules).toHaveLength(targets.length);
    for (const [index, target] of targets.entries()) {
      expect(rules[index]).toContain(`--dport 30080 -j ${target}`);
    }
  });
});

describe('two families', () => {
  const both: LabOptions = {
    ...DUAL,
    services: [ONE, { ...ONE, clusterIP: 'fd00:10:96::7' }],
  };

  it('puts each Service into the rules of its address', () => {
    expect(restoreInput(both, 4)).not.toContain('fd00');
    const text = restoreInput(both, 6);
    expect(text).toContain('-d fd00:10:96::7/128 -p tcp');
    expect(text).toContain('--to-destination [fd00:10:244::3]:8080');
    expect(text).not.toMatch(/10\.(32|44|96)\./);
    expect(text).not.toContain('127.0.0.0');
  });

  it('gives the endpoint chains different names and the Service chain the same', () => {
    const names = (family: 4 | 6, kind: string): string[] =>
      [...restoreInput(both, family).matchAll(new RegExp(`^:(KUBE-${kind}-\\w+)`, 'gm'))].map(
        (match) => match[1] ?? '',
      );
    expect(names(4, 'SVC')).toEqual(names(6, 'SVC'));
    expect(names(4, 'SEP')).not.toEqual(names(6, 'SEP'));
  });
});

describe('a sync of kube-proxy', () => {
  const TWO = ['nginx-86c57db685-9dxmk', 'nginx-86c57db685-vskrb'];
  const OTHER: LabService = { ...ONE, name: 'other', clusterIP: '10.96.0.8' };
  const given = (endpoints: readonly string[], chainNames: '1.19' | 'current'): LabOptions => ({
    ...TUTORIAL,
    chainNames,
    services: [{ ...ONE, endpoints, nodePort: 30_080, externalIPs: ['198.51.100.7'] }, OTHER],
  });
  const chains = (text: string, kind: RegExp): string[] =>
    [...text.matchAll(/^:(\S+) - \[0:0\]$/gm)]
      .map((match) => match[1] ?? '')
      .filter((name) => kind.test(name));

  it('writes the top-level chains anew, and no jump to them', () => {
    const text = syncInput(given(TWO, 'current'), given(TWO, 'current'), 4);
    expect(chains(text, /./).sort()).toEqual(
      [
        ...['KUBE-EXTERNAL-SERVICES', 'KUBE-FORWARD', 'KUBE-NODEPORTS', 'KUBE-PROXY-FIREWALL'],
        ...['KUBE-SERVICES', 'KUBE-MARK-MASQ', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING'],
        'KUBE-SERVICES',
      ].sort(),
    );
    expect(text).not.toMatch(/^-A (INPUT|OUTPUT|FORWARD|PREROUTING|POSTROUTING|KUBE-FIREWALL) /m);
    const dispatched = chain(restoreInput(given(TWO, 'current'), 4), 'KUBE-SERVICES');
    expect(chain(text, 'KUBE-SERVICES')).toEqual(dispatched);
  });

  it('writes the chains of what changed, and removes those that nothing needs', () => {
    const before = given(TWO, 'current');
    const after = given(TWO.slice(1), 'current');
    const text = syncInput(before, after, 4);
    const [gone = '', ...more] = chains(restoreInput(before, 4), /^KUBE-SEP-/).filter(
      (name) => !restoreInput(after, 4).includes(name),
    );
    expect(more).toEqual([]);
    expect(chains(text, /^KUBE-(SVC|SEP|EXT)-/)).toEqual([
      expect.stringMatching(/^KUBE-SVC-/),
      gone,
    ]);
    expect(text).toContain(`\n-X ${gone}\nCOMMIT\n`);
  });

  it('rewrote every chain up to 1.25', () => {
    const text = syncInput(given(TWO, '1.19'), given(TWO, '1.19'), 4);
    expect(chains(text, /^KUBE-(SVC|SEP)-/)).toHaveLength(5);
  });

  it('rejects what is sent to an external address when the last endpoint is gone', () => {
    const text = syncInput(given(TWO, 'current'), given([], 'current'), 4);
    expect(chain(text, 'KUBE-EXTERNAL-SERVICES')).toEqual([
      '-d 198.51.100.7/32 -p tcp -m comment --comment "shop/cart:http has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable',
      expect.stringContaining('--dport 30080 -j REJECT'),
    ]);
    expect(text.match(/^-X KUBE-(SVC|EXT|SEP)-/gm)).toHaveLength(4);
  });
});

describe('external addresses and other back ends', () => {
  it.each([
    ['1.19', ['-j KUBE-MARK-MASQ', 'physdev ! --physdev-is-in', '--dst-type LOCAL -j KUBE-SVC-']],
    ['current', ['-j KUBE-EXT-']],
  ] as const)('reaches an external address in the way of %s', (chainNames, parts) => {
    const services = [{ ...ONE, externalIPs: ['198.51.100.7'] }];
    const rules = chain(
      restoreInput({ ...TUTORIAL, chainNames, services }, 4),
      'KUBE-SERVICES',
    ).filter((rule) => rule.includes('"shop/cart:http external IP"'));
    expect(rules).toHaveLength(parts.length);
    for (const [index, part] of parts.entries()) expect(rules[index]).toContain(part);
  });

  it('gives each back end its own Services', () => {
    const services = [ONE, { ...ONE, name: 'old', ruleBackend: 'iptables-legacy' as const }];
    const both: LabOptions = { ...TUTORIAL, services };
    expect(restoreInput(both, 4)).toContain('shop/cart:');
    expect(restoreInput(both, 4)).not.toContain('shop/old:');
    const legacy = restoreInput(both, 4, 'iptables-legacy');
    expect(legacy).toContain('shop/old:');
    expect(legacy).not.toContain('shop/cart:');
  });
});
