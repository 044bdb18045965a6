import type { Check, ClusterFacts, Diagnosis, NodeFacts } from '../../model/doctor.js';

/** What live makes of each. */
const WITHOUT: Readonly<Record<string, string>> = {
  pods: "Pods' names",
  services: "Services' names where the rules do not tell them",
  endpointslices: 'whether an endpoint was listed and ready',
  nodes: "nodes' names",
};

/** Clocks further apart than this are worth a word: what changes in the cluster is compared in seconds. */
const SKEW_MS = 1_000;

/** How much of the cluster live would know. */
export function clusterBy({ cluster }: NodeFacts): Diagnosis['cluster'] {
  if (cluster === undefined || cluster.fault !== undefined) return 'none';
  if (!cluster.rights.some(({ allowed }) => allowed)) return 'none';
  return cluster.rights.every(({ allowed }) => allowed) ? 'api' : 'partly';
}

export function judgeCluster({ cluster, namespace }: NodeFacts): Check[] {
  if (cluster === undefined) {
    return [
      {
        group: 'cluster',
        check: 'api',
        level: 'ok',
        fact: 'not asked for',
        misses: 'names of Pods: addresses in their place',
        how: '--no-cluster',
      },
    ];
  }
  const api = apiCheck(cluster, namespace.inPod);
  if (cluster.fault !== undefined) return [api];
  return [api, ...rightChecks(cluster), nameCheck(cluster), ...skewChecks(cluster)];
}

function apiCheck(cluster: ClusterFacts, inPod: boolean): Check {
  const { config, server, fault } = cluster;
  const base = { group: 'cluster', check: 'api', how: `configuration: ${config}` } as const;
  if (fault === undefined) {
    const kubelet = cluster.kubelet === undefined ? '' : `; kubelet ${cluster.kubelet}`;
    return { ...base, level: 'ok', fact: `${server} answers, by ${config}${kubelet}` };
  }
  const where = server === undefined ? '' : `${server}: `;
  return {
    ...base,
    level: 'warn',
    fact: `${where}${fault.reason}`,
    remedy: {
      config: inPod
        ? 'give the Pod a service account (automountServiceAccountToken), or use --no-cluster'
        : '--kubeconfig FILE, --objects with files of kubectl, or --no-cluster',
      refused: `renew the credentials (${config})`,
      unreachable:
        "check the server's address from this node; under hostNetwork a name needs dnsPolicy ClusterFirstWithHostNet",
    }[fault.kind],
    misses: 'names of Pods: addresses in their place',
  };
}

function rightChecks({ rights, rightsHow }: ClusterFacts): Check[] {
  const resources = [...new Set(rights.map(({ resource }) => resource))];
  const denied = rights.filter(({ allowed }) => !allowed);
  const base = { group: 'cluster', how: rightsHow } as const;
  if (denied.length === 0) {
    const verbs = [...new Set(rights.map(({ verb }) => verb))].join(' and ');
    return [
      { ...base, check: 'rights', level: 'ok', fact: `may ${verbs} ${resources.join(', ')}` },
    ];
  }
  return resources.flatMap((resource): Check[] => {
    const missing = denied.filter((one) => one.resource === resource);
    if (missing.length === 0) return [];
    const verbs = missing.map(({ verb }) => verb).join(' and ');
    const reason = missing.find((one) => one.reason !== undefined)?.reason;
    return [
      {
        ...base,
        check: `rights-${resource}`,
        level: 'warn',
        fact: `may not ${verbs} ${resource}${reason === undefined ? '' : ` (${reason})`}`,
        remedy: `a ClusterRole with the verbs list and watch on ${resource}, bound to this account`,
        misses: WITHOUT[resource] ?? resource,
      },
    ];
  });
}

function nameCheck({ nodeName, nodeFound, nodeByAddress }: ClusterFacts): Check {
  const base = { group: 'cluster', check: 'node-name', how: 'GET /api/v1/nodes' } as const;
  const suggest = nodeByAddress === undefined ? 'NAME' : nodeByAddress;
  const has = nodeByAddress === undefined ? '' : `; ${nodeByAddress} has this machine's address`;
  if (nodeName === undefined) {
    return {
      ...base,
      level: 'warn',
      fact: `live is not told this node's name${has}`,
      remedy: `--node-name ${suggest}, or NODE_NAME by the downward API (spec.nodeName)`,
      misses: "which node's rules and interfaces these are",
    };
  }
  if (nodeFound === true) return { ...base, level: 'ok', fact: `this node is ${nodeName}` };
  if (nodeFound === undefined) {
    return {
      ...base,
      level: 'warn',
      fact: `this node is called ${nodeName}; whether the cluster knows it could not be asked`,
      remedy: 'a ClusterRole with the verbs list and watch on nodes',
    };
  }
  return {
    ...base,
    level: 'warn',
    fact: `no Node object is called ${nodeName}${has}`,
    remedy:
      nodeByAddress === undefined
        ? 'kubectl get nodes tells the names; is this the right cluster?'
        : `--node-name ${suggest}`,
    misses: "which of the cluster's Pods are this node's",
  };
}

function skewChecks({ skew }: ClusterFacts): Check[] {
  if (skew === undefined) return [];
  const base = { group: 'cluster', check: 'clock-skew', how: 'the Date of its answers' } as const;
  const { ms, uncertaintyMs } = skew;
  const beyond = Math.abs(ms) - uncertaintyMs;
  if (beyond <= SKEW_MS) {
    return [
      {
        ...base,
        level: 'ok',
        fact: `the API server's clock agrees within ${seconds(SKEW_MS + uncertaintyMs)} s`,
      },
    ];
  }
  return [
    {
      ...base,
      level: 'warn',
      fact: `the API server's clock is ${seconds(Math.abs(ms))} s ${ms > 0 ? 'ahead of' : 'behind'} this node's (± ${seconds(uncertaintyMs)} s)`,
      remedy: 'synchronise both: chrony or systemd-timesyncd',
      misses:
        'the order of what happened in the cluster and on the network, within the difference of the clocks',
    },
  ];
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1);
}
