import type { Endpoint, Port } from './kube-proxy.js';

export const local = (ip: string, port = 8080): Endpoint => ({ ip, port, here: true });
export const distant = (ip: string, port = 8080): Endpoint => ({ ip, port, here: false });
const ENDPOINTS = [local('10.244.1.4'), distant('10.244.2.3'), distant('10.244.2.9')];
export const BASE: Port = {
  namespace: 'shop',
  name: 'web',
  portName: 'http',
  protocol: 'tcp',
  clusterIP: '10.96.0.9',
  port: 80,
  endpoints: ENDPOINTS,
};
export const OPEN = {
  nodePort: 30080,
  externalIPs: ['192.0.2.7'],
  loadBalancerIPs: ['198.51.100.1', '198.51.100.2'],
} as const;
export const RANGES = ['203.0.113.0/24', '10.0.0.0/8'];
export const PODS = '-s 10.244.0.0/16';

/** One of each sort of Service, as it differs from BASE. */
export const SERVICES: readonly (readonly [string, Partial<Port>])[] = [
  ['one endpoint', { endpoints: ENDPOINTS.slice(0, 1) }],
  ['three endpoints', {}],
  ['eleven endpoints', { endpoints: Array.from({ length: 11 }, (_, i) => local(`10.1.0.${i}`)) }],
  ['an unnamed port', { portName: '' }],
  ['UDP', { protocol: 'udp', port: 53, endpoints: [distant('10.244.2.3', 5353)] }],
  ['SCTP', { protocol: 'sctp', ...OPEN }],
  ['no endpoints', { endpoints: [], ...OPEN }],
  ['no endpoints and source ranges', { endpoints: [], sourceRanges: RANGES, ...OPEN }],
  ['affinity', { affinity: 10_800, ...OPEN }],
  ['every way in', OPEN],
  ['externalTrafficPolicy Local', { external: 'Local', ...OPEN }],
  [
    'externalTrafficPolicy Local without a local endpoint',
    { external: 'Local', endpoints: ENDPOINTS.slice(1), ...OPEN },
  ],
  ['externalTrafficPolicy Local with affinity', { external: 'Local', affinity: 10, ...OPEN }],
  ['internalTrafficPolicy Local', { internal: 'Local' }],
  [
    'internalTrafficPolicy Local without a local endpoint',
    { internal: 'Local', endpoints: ENDPOINTS.slice(1) },
  ],
  ['both policies Local', { internal: 'Local', external: 'Local', nodePort: 30080 }],
  ['source ranges', { sourceRanges: RANGES, ...OPEN }],
  [
    'source ranges and externalTrafficPolicy Local',
    { sourceRanges: RANGES, external: 'Local', ...OPEN },
  ],
  [
    'source ranges and externalTrafficPolicy Local without a local endpoint',
    { sourceRanges: RANGES, external: 'Local', endpoints: ENDPOINTS.slice(1), ...OPEN },
  ],
];
