import { describe, expect, it } from 'vitest';
import { restoreInput } from '../../src/lab/rules.js';
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
