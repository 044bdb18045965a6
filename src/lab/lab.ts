import { PermissionError, UsageError } from '../model/problem.js';
import { labUnavailable } from './available.js';
import {
  hasFamily6,
  hostInterface,
  isOnNode,
  nodeCommands,
  nodeSysctls,
  outsideCommands,
  podCommands,
} from './layout.js';
import { newLabPrefix, sweepStaleLabs } from './namespaces.js';
import { nftInput, nftSyncInput } from './nft-rules.js';
import { type ClusterObjects, clusterObjects, Uids } from './objects.js';
import type { ServerJob } from './pod-server.js';
import { type Child, type Finished, Processes } from './processes.js';
import { restoreInput, syncInput } from './rules.js';
import { Site } from './site.js';
import {
  backendsOf,
  checkOptions,
  type Family,
  familyOf,
  type LabOptions,
  type LabPod,
  type LabService,
  podAddress,
  podNamed,
  type RuleBackend,
} from './spec.js';
import { type ChurnOptions, isNamed, sendTraffic, type TrafficOptions } from './traffic.js';
import type { TruthRow } from './traffic-client.js';

const open = new Set<Site>();

/** A running lab. Whoever created it closes it; nothing of it outlives `close`. */
export interface Lab {
  /** The options with the layout that was really built, and the endpoints as they are. */
  readonly options: LabOptions;
  /** Why the layout is not the one asked for. */
  readonly fallback?: string;
  /** Pod name -> name of its veth's end on the node. */
  readonly interfaces: ReadonlyMap<string, string>;
  /** As they are, so read them again after `setEndpoints`. */
  readonly objects: ClusterObjects;
  /** What to put before a command's words so that it runs in the network namespace of a Pod, `node` or `outside`. */
  enter(where: string): readonly string[];
  /** Runs a command there to its end; killed after `timeoutMs` and at `close`. */
  exec(
    where: string,
    argv: readonly string[],
    options?: { readonly input?: string; readonly timeoutMs?: number },
  ): Promise<Finished>;
  /**
   * The rules of the node's own back end: with counters, as its iptables-save prints them, or in mode
   * nftables as `nft -j` lists kube-proxy's table.
   */
  rules(family?: Family): Promise<string>;
  /**
   * Gives a Service (`namespace/name`: all its ports; `namespace/name:portName`: one) other Pods, as a
   * sync of kube-proxy does: rules in one go, then conntrack's entries of UDP flows to those that went.
   */
  setEndpoints(
    service: string,
    pods: readonly string[],
    options?: {
      /** Conntrack's entries of UDP flows stay, as after a fault of kube-proxy. */
      readonly keepsFlows?: boolean;
    },
  ): Promise<void>;
  /** Requests over HTTP, or datagrams; rows in the order in which they ended. */
  request(options: TrafficOptions): Promise<readonly TruthRow[]>;
  /** As many short TCP connections as the machine can bear, each answered with one line. */
  churn(options: ChurnOptions): Promise<readonly TruthRow[]>;
  /** Ends what the lab started and removes its namespaces. May be called again. */
  close(): Promise<void>;
}

/**
 * Builds the node: a network namespace for it, one for each Pod and one for what is outside, veths between them, kube-proxy's
 * rules, a server in each Pod that stands behind a Service. Nothing in the machine's own namespace
 * changes and nothing leads out. Also removes what labs of killed processes left behind. On failure
 * everything is removed again.
 */
export async function createLab(wanted: LabOptions): Promise<Lab> {
  checkOptions(wanted);
  const unavailable = labUnavailable(wanted);
  if (unavailable !== undefined)
    throw new PermissionError(`cannot build a lab here: ${unavailable}`);
  sweepStaleLabs();
  const prefix = newLabPrefix();
  const names = new Map([
    ['node', `${prefix}node`],
    ['outside', `${prefix}outside`],
  ]);
  for (const [index, pod] of wanted.pods.entries()) {
    names.set(pod.name, `${prefix}${pod.hostNetwork === true ? 'node' : `pod${index}`}`);
  }
  const processes = new Processes();
  const site = new Site(processes, names);
  open.add(site);
  try {
    await processes.must(
      ['ip', '-batch', '-'],
      [...new Set(names.values())].map((name) => `netns add ${name}\n`).join(''),
    );
    const { options, fallback } = await settle(wanted, site);
    const createdAt = new Date().toISOString();
    await Promise.all([startServers(options, site), build(options, site)]);
    return new RunningLab(options, fallback, createdAt, site);
  } catch (error) {
    await closeSite(site);
    throw error;
  }
}

/**
 * Closes every lab of this process, also those still being built, without waiting: for an exit hook,
 * since a process that ends by a signal's default action or in an error gets to do nothing else.
 */
export function closeLabsSync(): void {
  for (const site of open) site.closeSync();
  open.clear();
}

async function closeSite(site: Site): Promise<void> {
  await site.close();
  open.delete(site);
}

/**
 * A bridge translates bridged frames only where the kernel has br_netfilter for this namespace. Loading
 * the module would change the machine for everyone, so without it the routed layout is built.
 */
async function settle(
  wanted: LabOptions,
  site: Site,
): Promise<{ options: LabOptions; fallback?: string }> {
  if (wanted.layout === 'routed') return { options: wanted };
  const { code } = await site.processes.run([
    ...site.enter('node'),
    'test',
    '-w',
    '/proc/sys/net/bridge/bridge-nf-call-iptables',
  ]);
  if (code === 0) return { options: wanted };
  return {
    options: { ...wanted, layout: 'routed' },
    fallback: 'br_netfilter is not loaded, so Pods are routed instead of bridged',
  };
}

async function build(options: LabOptions, site: Site): Promise<void> {
  const sysctls = nodeSysctls(options).map(([path, value]) => `echo ${value} >/proc/sys/${path}`);
  const forward = 'echo 1 >/proc/sys/net/ipv4/ip_forward';
  await Promise.all([
    links(options, site),
    site.must('node', ['sh', '-ec', sysctls.join('\n')]),
    options.outsideNode === undefined ? '' : site.must('outside', ['sh', '-ec', forward]),
    loadRules(options, site),
  ]);
}

function familiesOf(options: LabOptions): readonly Family[] {
  return hasFamily6(options) ? [4, 6] : [4];
}

async function links(options: LabOptions, site: Site): Promise<void> {
  const batch = (where: string, lines: readonly string[]): Promise<string> =>
    site.processes.must(
      ['ip', '-n', site.namespace(where), '-batch', '-'],
      `${lines.join('\n')}\n`,
    );
  const lines = nodeCommands(options, site.namespace('outside'), (pod) => site.namespace(pod.name));
  await batch('node', lines);
  await batch(
    'outside',
    outsideCommands(options, (pod) => site.namespace(pod.name)),
  );
  const pods = options.pods.filter((pod) => pod.hostNetwork !== true);
  await Promise.all(pods.map((pod) => batch(pod.name, podCommands(options, pod))));
}

/** One family after the other: legacy programs hold a lock. */
async function loadRules(options: LabOptions, site: Site): Promise<void> {
  for (const family of familiesOf(options)) {
    for (const backend of backendsOf(options)) {
      if (backend === 'nftables') await loadNft(site, nftInput(options, family));
      else await restore(site, backend, family, restoreInput(options, family, backend));
    }
  }
}

/** As a sync of kube-proxy does. */
async function syncRules(before: LabOptions, after: LabOptions, site: Site): Promise<void> {
  for (const family of familiesOf(after)) {
    for (const backend of backendsOf(after)) {
      if (backend === 'nftables') {
        await loadNft(site, nftSyncInput(before, after, family));
        continue;
      }
      const input = syncInput(before, after, family, backend);
      await restore(site, backend, family, input, '--noflush', '--counters');
    }
  }
}

function loadNft(site: Site, input: string): Promise<string> {
  return site.must('node', ['nft', '-f', '-'], input);
}

function restore(
  site: Site,
  backend: RuleBackend,
  family: Family,
  input: string,
  ...options: readonly string[]
): Promise<string> {
  const program = ruleProgram(backend, family, 'restore');
  return site.must('node', [program, '-w', '5', ...options], input);
}

function ruleProgram(backend: RuleBackend, family: Family, verb: 'save' | 'restore'): string {
  const kind = backend.slice('iptables-'.length);
  return `${family === 6 ? 'ip6tables' : 'iptables'}-${kind}-${verb}`;
}

/** A flow of UDP goes on to the Pod that conntrack knows, also when that is no endpoint any more (pkg/proxy/conntrack). */
async function forgetFlows(
  before: LabService,
  after: LabService,
  lab: LabOptions,
  site: Site,
): Promise<void> {
  if (after.protocol !== 'udp') return;
  const family = familyOf(after.clusterIP);
  const gone = before.endpoints.filter((name) => !after.endpoints.includes(name));
  for (const name of gone) {
    const to = podAddress(podNamed(lab, name), family);
    const which = ['-f', `ipv${family}`, '-p', 'udp', '--orig-dst', after.clusterIP];
    // Exit code 1: there was none.
    await site.processes.run([...site.enter('node'), 'conntrack', '-D', ...which, '--dst-nat', to]);
  }
}

async function startServers(options: LabOptions, site: Site): Promise<void> {
  const jobs = options.pods.map((pod) => serverJob(options, pod));
  await Promise.all(
    jobs
      .filter((job) => job.tcp.length + job.udp.length > 0)
      .map((job) =>
        firstLine(site.start(job.pod, 'pod-server', job), `the server of Pod ${job.pod}`),
      ),
  );
}

function serverJob(options: LabOptions, pod: LabPod): ServerJob {
  const ports = (protocol: 'tcp' | 'udp'): number[] => {
    const behind = options.services.filter(
      (service) =>
        service.protocol === protocol &&
        service.deaf !== true &&
        [...service.endpoints, ...(service.standby ?? [])].includes(pod.name),
    );
    return [...new Set(behind.map((service) => service.targetPort))];
  };
  return {
    pod: pod.name,
    namespace: pod.namespace,
    tcp: ports('tcp'),
    udp: ports('udp'),
    ip6: pod.ip6 !== undefined,
  };
}

/** Resolves when the program has said its first word, rejects with what it complained of if it ends before. */
function firstLine(child: Child, what: string): Promise<void> {
  let complaint = '';
  child.stderr.on('data', (piece: Buffer) => {
    complaint += piece.toString();
  });
  return new Promise((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('error', reject);
    child.once('close', (code) =>
      reject(new Error(`lab: ${what} ended (${code}): ${complaint.trim()}`)),
    );
  });
}

class RunningLab implements Lab {
  readonly fallback?: string;
  readonly interfaces: ReadonlyMap<string, string>;
  options: LabOptions;
  objects: ClusterObjects;
  readonly #site: Site;
  readonly #createdAt: string;
  readonly #uids = new Uids();

  constructor(options: LabOptions, fallback: string | undefined, createdAt: string, site: Site) {
    this.options = options;
    if (fallback !== undefined) this.fallback = fallback;
    this.interfaces = new Map(
      options.pods.filter(isOnNode).map((pod) => [pod.name, hostInterface(pod)]),
    );
    this.#createdAt = createdAt;
    this.objects = clusterObjects(options, createdAt, this.#uids);
    this.#site = site;
  }

  enter(where: string): readonly string[] {
    return this.#site.enter(where);
  }

  exec(
    where: string,
    argv: readonly string[],
    options: { readonly input?: string; readonly timeoutMs?: number } = {},
  ): Promise<Finished> {
    const command = [...this.enter(where), ...argv];
    return this.#site.processes.run(command, options.input, options.timeoutMs);
  }

  rules(family: Family = 4): Promise<string> {
    const { ruleBackend } = this.options;
    const table = ['nft', '-j', 'list', 'table', family === 6 ? 'ip6' : 'ip', 'kube-proxy'];
    return this.#site.must(
      'node',
      ruleBackend === 'nftables' ? table : [ruleProgram(ruleBackend, family, 'save'), '-c'],
    );
  }

  async setEndpoints(
    service: string,
    pods: readonly string[],
    options: { readonly keepsFlows?: boolean } = {},
  ): Promise<void> {
    const before = this.options;
    const services = before.services.map((known) =>
      isNamed(known, service) ? { ...known, endpoints: pods } : known,
    );
    const changed = services.filter((known, index) => known !== before.services[index]);
    if (changed.length === 0) throw new UsageError(`lab: there is no Service ${service}`);
    const after = { ...before, services };
    checkOptions(after);
    this.options = after;
    this.objects = clusterObjects(after, this.#createdAt, this.#uids);
    await syncRules(before, after, this.#site);
    if (options.keepsFlows === true) return;
    for (const [index, known] of before.services.entries()) {
      const now = services[index];
      if (now !== undefined && now !== known) await forgetFlows(known, now, after, this.#site);
    }
  }

  request(options: TrafficOptions): Promise<readonly TruthRow[]> {
    return sendTraffic(
      this.#site,
      this.options,
      options.protocol === 'udp' ? 'udp' : 'http',
      options,
    );
  }

  churn(options: ChurnOptions): Promise<readonly TruthRow[]> {
    return sendTraffic(this.#site, this.options, 'line', {
      ...options,
      count: options.connections,
    });
  }

  close(): Promise<void> {
    return closeSite(this.#site);
  }
}
