import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { labUnavailable } from '../../src/lab/available.js';
import { createLab } from '../../src/lab/lab.js';
import { nftInput, nftSyncInput } from '../../src/lab/nft-rules.js';
import type { LabOptions, LabService } from '../../src/lab/spec.js';

/** As on the node that the recordings are from: its own two Pods of nginx, and two on another node. */
const LOCAL = { namespace: 'default' } as const;
const REMOTE = { namespace: 'default', node: 'outside' } as const;
const ALL = ['nginx-a', 'nginx-b', 'nginx-c', 'nginx-d'];
const NGINX: LabService = {
  namespace: 'default',
  name: 'nginx',
  protocol: 'tcp',
  port: 80,
  clusterIP: '10.96.81.51',
  targetPort: 80,
  endpoints: ALL,
};
const RECORDED: LabOptions = {
  layout: 'routed',
  ruleBackend: 'nftables',
  chainNames: 'current',
  clusterCIDR: '10.244.0.0/16',
  podCIDR: '10.244.1.0/24',
  gateway: '10.244.1.1',
  nodeName: 'node1',
  nodeAddress: '192.168.77.11',
  outsideAddress: '192.168.77.12',
  outsideNode: { name: 'node2', podCIDR: '10.244.2.0/24', gateway: '10.244.2.1' },
  pods: [
    { ...LOCAL, name: 'nginx-a', ip: '10.244.1.4' },
    { ...LOCAL, name: 'nginx-b', ip: '10.244.1.5' },
    { ...REMOTE, name: 'nginx-c', ip: '10.244.2.3' },
    { ...REMOTE, name: 'nginx-d', ip: '10.244.2.4' },
  ],
  services: [
    NGINX,
    {
      ...NGINX,
      name: 'np-cluster',
      clusterIP: '10.96.71.142',
      targetPort: 8080,
      nodePort: 30_080,
    },
    {
      ...NGINX,
      name: 'ext-ip',
      port: 8082,
      clusterIP: '10.96.104.23',
      targetPort: 8080,
      externalIPs: ['192.168.77.201'],
    },
    {
      ...NGINX,
      name: 'sticky-10s',
      clusterIP: '10.96.18.140',
      targetPort: 8080,
      affinitySeconds: 10,
    },
  ],
};

/** Sets, maps and chains of a listing by name, without elements. */
function blocks(listing: string): Map<string, string> {
  const found = listing.matchAll(/^\t(?:chain|set|map) (\S+) \{\n[\s\S]*?^\t\}$/gm);
  return new Map(
    [...found].map(([text, name = '']) => [name, text.replace(/\n\t\telements = \{[^}]*\}/, '')]),
  );
}

function withEndpoints(endpoints: readonly string[], layout: '1.30' | '1.36'): LabOptions {
  const services = RECORDED.services.map((service) =>
    service.name === 'nginx' ? { ...service, endpoints } : service,
  );
  return { ...RECORDED, services, nftLayout: layout };
}

describe.each(['1.30', '1.36'] as const)('kube-proxy’s nftables mode as of %s', (nftLayout) => {
  it('is listed by nft as kube-proxy’s own table is', async (context) => {
    const unavailable = labUnavailable(RECORDED);
    if (unavailable !== undefined) context.skip(unavailable);
    const lab = await createLab({ ...RECORDED, nftLayout });
    try {
      const { stdout } = await lab.exec('node', ['nft', 'list', 'table', 'ip', 'kube-proxy']);
      const ours = blocks(stdout);
      const data = new URL(`./data/nft-${nftLayout}.txt`, import.meta.url);
      const recorded = blocks(readFileSync(data, 'utf8'));
      expect(recorded.size).toBeGreaterThan(30);
      for (const [name, text] of recorded) expect(ours.get(name), name).toBe(text);
      const perService = (names: Iterable<string>): string[] =>
        [...names].filter((name) => name.includes('/')).sort();
      expect(perService(ours.keys())).toEqual(perService(recorded.keys()));
      expect(stdout).toContain('comment "rules for kube-proxy"');
      expect(stdout).toContain('tcp . 30080 : goto external-KISD3DDN-default/np-cluster/tcp/');
      expect(stdout).toContain(
        '192.168.77.201 . tcp . 8082 : goto external-FGMWZ2WM-default/ext-ip/tcp/',
      );
    } finally {
      await lab.close();
    }
  });

  it('leaves alone what did not change', () => {
    const input = nftSyncInput(
      withEndpoints(ALL, nftLayout),
      withEndpoints(['nginx-a'], nftLayout),
      4,
    );
    expect(input).toContain('flush chain ip kube-proxy service-ECO34HEO-default/nginx/tcp/');
    expect(input).not.toMatch(/chain ip kube-proxy \S+sticky-10s/);
    expect(input).not.toMatch(/affinity-|nat-prerouting/);
    expect(input.includes('flush map ip kube-proxy service-ips')).toBe(nftLayout === '1.30');
  });

  it('refuses what is sent to a Service that has lost its last endpoint, and serves it again', () => {
    const some = withEndpoints(ALL, nftLayout);
    const none = withEndpoints([], nftLayout);
    const refused = '10.96.81.51 . tcp . 80 comment "default/nginx" : goto reject-chain';
    const served = '10.96.81.51 . tcp . 80 : goto service-ECO34HEO-default/nginx/tcp/';
    const lost = nftSyncInput(some, none, 4);
    expect(lost).toContain(`add element ip kube-proxy no-endpoint-services { ${refused} }`);
    expect(lost).not.toMatch(/add rule ip kube-proxy \S+default\/nginx\/tcp\//);
    expect(lost).toContain('\nflush chain ip kube-proxy service-ECO34HEO-default/nginx/tcp/\n');
    const back = nftSyncInput(none, some, 4);
    expect(back).toContain(served);
    expect(back).not.toContain('add element ip kube-proxy no-endpoint-services');
    expect(nftInput(none, 4)).toContain(refused);
    expect(nftInput(some, 4)).toContain(served);
  });
});
