import type { LabOptions, LabPod } from './spec.js';

/**
 * The tutorial case: Deployment `nginx` with four replicas behind Service `nginx`. Four Pods sorted by
 * address, as kube-proxy writes them, put 10.44.0.1 third of four, so its rule carries the probability
 * 0.50000000000. The range is Weave Net's default, 10.32.0.0/12, one flat range for all nodes; here all
 * Pods run on node01. Up to Kubernetes 1.19 these names hash to KUBE-SVC-4N57TFCL4MD7ZTDA and, for
 * 10.44.0.1:80, KUBE-SEP-RNUA2WF32F4IZIFK.
 */
const NGINX: readonly LabPod[] = [
  { namespace: 'default', name: 'nginx-86c57db685-9dxmk', ip: '10.32.0.4' },
  { namespace: 'default', name: 'nginx-86c57db685-tn5zw', ip: '10.32.0.5' },
  { namespace: 'default', name: 'nginx-86c57db685-vskrb', ip: '10.44.0.1' },
  { namespace: 'default', name: 'nginx-86c57db685-h6j8q', ip: '10.44.0.2' },
];

/** The Pod from which the tutorial sends its requests. */
export const TUTORIAL_CLIENT = 'client';

export const TUTORIAL: LabOptions = {
  layout: 'bridge',
  ruleBackend: 'iptables-nft',
  chainNames: '1.19',
  clusterCIDR: '10.32.0.0/12',
  podCIDR: '10.32.0.0/12',
  gateway: '10.44.0.254',
  nodeName: 'node01',
  nodeAddress: '172.17.0.33',
  outsideAddress: '172.17.0.1',
  pods: [...NGINX, { namespace: 'default', name: TUTORIAL_CLIENT, ip: '10.44.0.3' }],
  services: [
    {
      namespace: 'default',
      name: 'nginx',
      protocol: 'tcp',
      port: 80,
      clusterIP: '10.111.248.8',
      targetPort: 80,
      endpoints: NGINX.map((pod) => pod.name),
    },
  ],
};
