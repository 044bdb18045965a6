import type { ClusterChange, ClusterRecord } from '../../model/cluster.js';
import type { Loss, Notice } from '../../model/event.js';
import type { Readings } from '../../model/readings.js';
import type { NftChain, NftRule, NftSet, RuleSet } from '../../model/ruleset.js';

/**
 * Whether a value out of JSON is what the model means. A recording comes from elsewhere like any other
 * input: what does not fit is refused as a whole.
 */
type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === 'string';
const isFlag: Check = (value) => typeof value === 'boolean';
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isNumber: Check = (value) => Number.isSafeInteger(value);
const isPort: Check = (value) => isCount(value) && (value as number) <= 65_535;
const anything: Check = (value) => value !== undefined;

const oneOf =
  (...allowed: readonly unknown[]): Check =>
  (value) =>
    allowed.includes(value);
const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);

/** An object with these members; a name that ends in `?` may be absent. */
function shape(members: Readonly<Record<string, Check>>): Check {
  const all = Object.entries(members).map(([name, check]) => ({
    name: name.replace(/\?$/, ''),
    needed: !name.endsWith('?'),
    check,
  }));
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
    return all.every(({ name, needed, check }) => {
      const member = Object.hasOwn(value, name)
        ? (value as Record<string, unknown>)[name]
        : undefined;
      return member === undefined ? !needed : check(member);
    });
  };
}

const texts = listOf(isText);
const protocol = oneOf('tcp', 'udp', 'sctp');
const named = { uid: isText, namespace: isText, name: isText, 'resourceVersion?': isText };

const isPod = shape({
  ...named,
  ips: texts,
  'node?': isText,
  hostNetwork: isFlag,
  'phase?': isText,
  ready: isFlag,
  'deletedAt?': isText,
  'createdAt?': isText,
  'hostPorts?': listOf(
    shape({ protocol, hostPort: isPort, containerPort: isPort, 'hostIP?': isText }),
  ),
});

const isService = shape({
  ...named,
  type: isText,
  clusterIPs: texts,
  externalIPs: texts,
  loadBalancerIPs: texts,
  loadBalancerSourceRanges: texts,
  ports: listOf(shape({ 'name?': isText, protocol, port: isPort, 'nodePort?': isPort })),
  'affinitySeconds?': isCount,
  'externalTrafficPolicy?': isText,
  'internalTrafficPolicy?': isText,
  'healthCheckNodePort?': isPort,
});

const isEndpoint = shape({
  addresses: texts,
  ready: isFlag,
  serving: isFlag,
  terminating: isFlag,
  'node?': isText,
  'zone?': isText,
  'hintZones?': texts,
  'hintNodes?': texts,
  'pod?': shape({ namespace: isText, name: isText, 'uid?': isText }),
});

const isSlice = shape({
  ...named,
  'service?': isText,
  ports: listOf(shape({ 'name?': isText, protocol, 'port?': isPort })),
  endpoints: listOf(isEndpoint),
});

const isNode = shape({
  ...named,
  namespace: oneOf(''),
  addresses: texts,
  podCIDRs: texts,
  'zone?': isText,
  'kubeletVersion?': isText,
});

const RECORDS: Readonly<Record<ClusterRecord['kind'], Check>> = {
  pod: isPod,
  service: isService,
  endpointslice: isSlice,
  node: isNode,
};

function kindOf(value: unknown): ClusterRecord['kind'] | undefined {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return undefined;
  const { kind } = value;
  return typeof kind === 'string' && Object.hasOwn(RECORDS, kind)
    ? (kind as ClusterRecord['kind'])
    : undefined;
}

const isRecord: Check = (value) => {
  const kind = kindOf(value);
  return kind !== undefined && RECORDS[kind](value);
};

export function isClusterChange(value: unknown): value is ClusterChange {
  if (typeof value !== 'object' || value === null || !('op' in value)) return false;
  if (value.op !== 'list') {
    return (value.op === 'set' || value.op === 'delete') && 'item' in value && isRecord(value.item);
  }
  if (!('kind' in value) || !('items' in value) || !Array.isArray(value.items)) return false;
  const { kind, items } = value;
  if (!shape({ 'resourceVersion?': isText })(value)) return false;
  const known = typeof kind === 'string' && Object.hasOwn(RECORDS, kind);
  return known && items.every((item) => kindOf(item) === kind && isRecord(item));
}

const NOTICE = shape({ code: isText, 'connection?': isText, detail: isText });
/** A notice, apart from its time. */
export const isNotice = (value: unknown): value is Omit<Notice, 'time'> => NOTICE(value);

const LOSS = shape({
  source: oneOf('ring', 'capture', 'netlink', 'conntrack', 'queue', 'file', 'watch', 'rules'),
  count: isCount,
  detail: isText,
});
/** A loss, apart from its times. */
export const isLoss = (value: unknown): value is Omit<Loss, 'from' | 'to'> => LOSS(value);

/** `null` stands in JSON for what is no finite number. */
const isAge: Check = (value) => typeof value === 'number' && value >= 0;
const isPair =
  (first: Check, second: Check): Check =>
  (value) =>
    Array.isArray(value) && value.length === 2 && first(value[0]) && second(value[1]);
const READINGS = shape({
  'table?': shape({
    'count?': isCount,
    'max?': isCount,
    'insertFailed?': isCount,
    'drop?': isCount,
    'earlyDrop?': isCount,
  }),
  'routes?': listOf(shape({ network: isText, prefix: isCount, device: isText, metric: isCount })),
  'recent?': listOf(isPair(isText, listOf(isPair(isText, isAge)))),
  'recentCapacity?': isCount,
  'kubeProxy?': isText,
  'apiServer?': isText,
});
export const isReadings = (value: unknown): value is Readings => READINGS(value);

const isExpression = shape({
  'handle?': isNumber,
  'comment?': isText,
  expressions: listOf(anything),
});
const CHAIN = shape({
  name: isText,
  'handle?': isNumber,
  'comment?': isText,
  'type?': isText,
  'hook?': isText,
  'priority?': isNumber,
  'policy?': isText,
  rules: listOf(isExpression),
});
const SET = shape({
  name: isText,
  'handle?': isNumber,
  'comment?': isText,
  keyTypes: texts,
  'valueType?': isText,
  flags: texts,
  'timeoutSeconds?': isCount,
  elements: listOf(
    shape({ key: anything, 'value?': anything, 'comment?': isText, 'expiresSeconds?': isCount }),
  ),
});

export interface NftParts {
  readonly chains: readonly (NftChain & { readonly rules: readonly NftRule[] })[];
  readonly sets: readonly NftSet[];
  readonly maps: readonly NftSet[];
}
const NFT = shape({ chains: listOf(CHAIN), sets: listOf(SET), maps: listOf(SET) });
export const isNftParts = (value: unknown): value is NftParts => NFT(value);

/** What a `rules` item says beside the rules' text. */
export interface RulesHead {
  readonly kind: 'iptables' | 'nftables';
  readonly family: 4 | 6;
  readonly backend: 'legacy' | 'nft' | 'unknown';
  readonly version?: string;
  /** Decimal, as bigints cannot stand in JSON: of the header, and of the event. */
  readonly printed?: string;
  readonly time?: string;
  readonly node?: string;
}
const isDecimal: Check = (value) => typeof value === 'string' && /^-?\d{1,20}$/.test(value);
const RULES = shape({
  kind: oneOf('iptables', 'nftables'),
  family: oneOf(4, 6),
  backend: oneOf('legacy', 'nft', 'unknown'),
  'version?': isText,
  'printed?': isDecimal,
  'time?': isDecimal,
  'node?': isText,
});
export const isRulesHead = (value: unknown): value is RulesHead => RULES(value);

/** Rules with the same key take each other's place. */
export function rulesKey(
  node: string | undefined,
  { kind, family, backend }: Pick<RuleSet, 'kind' | 'family' | 'backend'>,
): string {
  return `${node ?? ''}\0${kind}\0${family}\0${backend}`;
}

/** What is common to a whole recording, and where in a series of files this one stands. */
export interface RecordingHead {
  /** Of whichpod. */
  readonly version: string;
  /** The same in all files of one run. */
  readonly run: string;
  /** Counts the files of a run from 1. */
  readonly file: number;
  readonly node?: string;
  readonly baseSeconds: number;
  readonly firstListingIsOld: boolean;
  readonly udpIdleNs?: number;
  /** The node, for people: kernel, architecture, which sources were used. */
  readonly facts: Readonly<Record<string, string>>;
}
const HEAD = shape({
  version: isText,
  run: isText,
  file: isCount,
  'node?': isText,
  baseSeconds: isCount,
  firstListingIsOld: isFlag,
  'udpIdleNs?': isCount,
  facts: (value) => shape({})(value) && Object.values(value as object).every(isText),
});
export const isRecordingHead = (value: unknown): value is RecordingHead => HEAD(value);

const INTERFACE = shape({ 'name?': isText, 'index?': isCount, 'node?': isText });
export const isInterface = (
  value: unknown,
): value is { readonly name?: string; readonly index?: number; readonly node?: string } =>
  INTERFACE(value);

export const isTexts = (value: unknown): value is readonly string[] => texts(value);
