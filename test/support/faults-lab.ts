import type { LabOptions, LabPod, LabService } from '../../src/lab/spec.js';

/** The node on which the faults of `test/explain/data/` are made on purpose; docs/diagnoses.md tells how. */
const NAMES = ['web-1', 'web-2', 'web-3', 'client', 'other'];
const PODS: readonly LabPod[] = NAMES.map((name, i) => ({
  namespace: 'shop',
  name,
  ip: `10.244.1.${i + 2}`,
}));

const WEB: LabService = {
  namespace: 'shop',
  name: 'web',
  protocol: 'tcp',
  port: 80,
  clusterIP: '10.96.0.10',
  targetPort: 8080,
  endpoints: ['web-1', 'web-2'],
  nodePort: 30_080,
};

/** A Service for each fault, so that a case is named by its Service. */
const FAULTS: readonly (Partial<LabService> & { readonly name: string })[] = [
  { name: 'refuses', targetPort: 1010, endpoints: ['web-2'], deaf: true },
  { name: 'mute', targetPort: 2020, endpoints: ['web-2'], deaf: true },
  { name: 'answer-lost', targetPort: 3030, endpoints: ['web-3'] },
  { name: 'syn-lost', targetPort: 4040, endpoints: ['web-3'] },
  { name: 'unreachable', targetPort: 5050, endpoints: ['web-3'] },
  { name: 'rejected', targetPort: 6060, endpoints: ['web-3'] },
  { name: 'pod-resets', targetPort: 7070, endpoints: ['web-1'], deaf: true },
  { name: 'client-resets', targetPort: 8080, endpoints: ['web-1'] },
  { name: 'node-resets', targetPort: 9090, endpoints: ['web-3'], deaf: true },
  { name: 'rerolled', targetPort: 2020, endpoints: ['web-2'], deaf: true, standby: [] },
  { name: 'solo', targetPort: 8080, endpoints: ['web-1'] },
  { name: 'sticky', targetPort: 8080, endpoints: ['web-1', 'web-2'], affinitySeconds: 600 },
  { name: 'flushed', targetPort: 7171, endpoints: ['web-1'], deaf: true },
  { name: 'leaves', targetPort: 7272, endpoints: ['web-1', 'web-2'], deaf: true },
  { name: 'late', targetPort: 8080, endpoints: ['web-1', 'web-2'] },
  { name: 'drifts', targetPort: 8080, endpoints: ['web-1', 'web-2'] },
  { name: 'unready', targetPort: 8080, endpoints: ['web-2'] },
  { name: 'local', endpoints: [], externalIPs: ['198.51.100.7'] },
  { name: 'dns', protocol: 'udp', port: 53, targetPort: 5353, endpoints: ['web-1', 'web-2'] },
];

export const FAULTY: LabOptions = {
  pods: PODS,
  services: [WEB, ...FAULTS.map((fault, i) => service(fault, `10.96.0.${20 + i}`))],
  layout: 'routed',
  ruleBackend: 'iptables-nft',
  chainNames: 'current',
  clusterCIDR: '10.244.0.0/16',
  podCIDR: '10.244.1.0/24',
  gateway: '10.244.1.1',
  nodeName: 'node1',
  nodeAddress: '192.168.77.11',
  outsideAddress: '192.168.77.1',
};

function service(fault: Partial<LabService>, clusterIP: string): LabService {
  const { nodePort: _, ...plain } = WEB;
  return { ...plain, ...fault, clusterIP };
}

/** The same on a bridge whose frames do not pass netfilter: answers go from Pod to Pod untranslated. */
export const BYPASSED: LabOptions = {
  ...FAULTY,
  layout: 'bridge',
  services: [WEB],
};
