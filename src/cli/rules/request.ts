import { UsageError } from '../../model/problem.js';
import type { OffsetAt } from '../../model/time.js';
import { type LiveRequest, type ReplayInput, RULES } from '../commands.js';
import type { Io } from '../io.js';
import { duration, given, oneOf, replayInput, values, wrong, zone } from '../options.js';

const RULES_FORMATS = ['tree', 'table', 'json'] as const;
const RULES_FAIL_ON = ['skew', 'drift'] as const;
const OVER = ['counters', 'connections'] as const;

/** What `whichpod rules` is asked for. */
export interface RulesRequest extends Pick<LiveRequest, 'cluster' | 'objects' | 'rules'> {
  readonly service?: { readonly namespace: string; readonly name: string };
  readonly namespaces: readonly string[];
  /** Empty: the live node. */
  readonly inputs: readonly ReplayInput[];
  readonly format: (typeof RULES_FORMATS)[number];
  /** Whether colours are allowed at all. */
  readonly colors: boolean;
  readonly exact: boolean;
  readonly audit: boolean;
  readonly over?: (typeof OVER)[number];
  readonly drift: boolean;
  readonly failOn: readonly (typeof RULES_FAIL_ON)[number][];
  /** Absent: do not watch. */
  readonly watchNs?: number;
  readonly durationNs?: number;
  /** How long rules may lag behind the cluster. */
  readonly settleNs: number;
  readonly nodeName?: string;
  readonly offsetAt?: OffsetAt;
  /** What the user should know of how the arguments were read. */
  readonly remarks: readonly string[];
}

export interface RulesFlags {
  readonly output?: string | undefined;
  readonly service?: string | undefined;
  readonly namespace?: readonly string[] | undefined;
  readonly exact?: boolean | undefined;
  readonly watch?: string | true | undefined;
  readonly audit?: boolean | undefined;
  readonly over?: string | undefined;
  readonly drift?: boolean | undefined;
  readonly failOn?: readonly string[] | undefined;
  readonly duration?: string | undefined;
  readonly settle?: string | undefined;
  readonly rules?: string | undefined;
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly cluster: boolean;
  readonly objects?: readonly string[] | undefined;
  readonly nodeName?: string | undefined;
  readonly node?: string | undefined;
  readonly tz?: string | undefined;
  readonly color: boolean;
}

/** What of the outside decides how arguments are read. */
export interface Around extends Pick<Io, 'env'> {
  /** Whether there is a file or folder of this name. */
  exists(path: string): boolean;
}

/** kube-proxy looks for changes at least this often (`minSyncPeriod` 1 s), and takes its time where there are many rules. */
const SETTLE = '5s';
const WATCH = '2s';
/** Nobody reads faster, and looking costs. */
const MIN_WATCH_NS = 200_000_000;

/** Labels of RFC 1123, as Services and namespaces have them. */
const SERVICE = /^([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)\/([a-z0-9](?:[-a-z0-9.]*[a-z0-9])?)$/;
const DURATION = /^\d/;

/** Arguments and flags as they were typed, to a request: pure; every wrong value is a UsageError. */
export function rulesRequest(
  typed: readonly string[],
  flags: RulesFlags,
  around: Around,
): RulesRequest {
  const remarks: string[] = [];
  const args = [...typed];
  let interval = flags.watch === true ? WATCH : flags.watch;
  // `--watch default/nginx`: what follows an option is taken for its value, whoever it was meant for.
  if (interval !== undefined && !DURATION.test(interval)) {
    args.unshift(interval);
    interval = WATCH;
  }
  const service = serviceOf(args, flags.service, around, remarks);
  const inputs = args.map(replayInput);
  const failOn = values('--fail-on', flags.failOn).map((text) =>
    oneOf('--fail-on', text, RULES_FAIL_ON),
  );
  const watchNs = duration('--watch', interval);
  if (watchNs !== undefined && watchNs < MIN_WATCH_NS) {
    throw wrong('--watch', interval ?? '', 'too often', 'write 200ms or more');
  }
  const audit = flags.audit === true || failOn.includes('skew');
  const drift = flags.drift === true || failOn.includes('drift');
  if (watchNs !== undefined && (audit || drift)) {
    const other = audit ? '--audit' : '--drift';
    throw new UsageError(`--watch: cannot be used with ${other}; leave one of them out`);
  }
  const isLive = inputs.length === 0;
  if (flags.duration !== undefined && !(isLive && (audit || watchNs !== undefined))) {
    throw new UsageError(
      '--duration: is how long the live node is watched (--watch) or counted (--audit); leave it out',
    );
  }
  refuseMixture(flags, isLive);
  const nodeName = isLive ? (flags.nodeName ?? around.env.NODE_NAME) : flags.node;
  return {
    ...given('service', service),
    namespaces: values('-n', flags.namespace),
    inputs,
    format: oneOf('-o', flags.output ?? 'tree', RULES_FORMATS),
    colors: flags.color && !around.env.NO_COLOR && around.env.TERM !== 'dumb',
    exact: flags.exact ?? false,
    audit,
    ...given('over', flags.over === undefined ? undefined : oneOf('--over', flags.over, OVER)),
    drift,
    failOn,
    ...given('watchNs', watchNs),
    ...given('durationNs', duration('--duration', flags.duration)),
    settleNs: duration('--settle', flags.settle ?? SETTLE) ?? 0,
    rules: oneOf('--rules', flags.rules ?? 'auto', RULES),
    ...given('objects', flags.objects),
    ...(flags.cluster &&
      flags.objects === undefined && {
        cluster: { ...given('kubeconfig', flags.kubeconfig), ...given('context', flags.context) },
      }),
    ...given('nodeName', nodeName === '' ? undefined : nodeName),
    ...given('offsetAt', zone(flags.tz)),
    remarks,
  };
}

/** The Service that is asked for; the first argument is taken from `args` if it is one. */
function serviceOf(
  args: string[],
  flag: string | undefined,
  around: Around,
  remarks: string[],
): RulesRequest['service'] {
  if (flag !== undefined) {
    const m = SERVICE.exec(flag);
    if (!m) throw wrong('--service', flag, 'no NAMESPACE/NAME', 'write for instance default/nginx');
    return { namespace: m[1] ?? '', name: m[2] ?? '' };
  }
  const [first] = args;
  const m = SERVICE.exec(first ?? '');
  if (!m || first === undefined) return undefined;
  if (around.exists(first)) {
    remarks.push(
      `there is a file or folder ${first}, so it is taken for an INPUT; for the Service of that name write --service ${first}`,
    );
    return undefined;
  }
  args.shift();
  return { namespace: m[1] ?? '', name: m[2] ?? '' };
}

function refuseMixture(flags: RulesFlags, isLive: boolean): void {
  const { kubeconfig, context, objects, cluster } = flags;
  const asked = kubeconfig === undefined ? '--context' : '--kubeconfig';
  if (kubeconfig !== undefined || context !== undefined) {
    if (!cluster)
      throw new UsageError(`--no-cluster: cannot be used with ${asked}; leave one of them out`);
    if (objects !== undefined)
      throw new UsageError(`--objects: cannot be used with ${asked}; leave one of them out`);
  }
  const live = [
    ['--kubeconfig', kubeconfig],
    ['--context', context],
    ['--objects', objects],
    ['--node-name', flags.nodeName],
    ['--rules', flags.rules],
  ] as const;
  const recorded = [
    ['--node', flags.node],
    ['--tz', flags.tz],
    ['--over', flags.over],
  ] as const;
  const [wrongOne] = (isLive ? recorded : live).filter(([, value]) => value !== undefined);
  if (wrongOne === undefined) return;
  const why = isLive
    ? 'is about recordings, and no INPUT is named'
    : 'is about the live node, and an INPUT is named';
  throw new UsageError(`${wrongOne[0]}: ${why}; leave it out`);
}
