/**
 * The cluster of a generated recording: which Service has which address and which Pods. Everything
 * follows from these numbers: no clock, no chance.
 */
export interface World {
  readonly services: number;
  /** Endpoints of each Service, each a Pod of its own. */
  readonly endpointsEach: number;
  /** Pods that ask; Services are asked by all of them. */
  readonly clients: number;
}

/** Four words as they stand in a header: IPv4 in the first, the rest 0. */
export type Words = readonly [number, number, number, number];

export type Family = 4 | 6;

export const SERVICE_PORT = 80;
export const TARGET_PORT = 8080;
export const NODE_NAME = 'node1';
export const NAMESPACE = 'bench';
/** Everything was created before the first packet. */
export const CREATED_AT = '2026-11-22T19:00:00Z';
/** 2026-11-22T19:55:00Z, when the first packet passes. */
export const START_SECONDS = 1_795_377_300;

/** 10.96.0.0/12 and fd00:96::, so a million Services have room. */
export const serviceAddress = (family: Family, service: number): Words =>
  address(family, 0x0a600000, 0x96, service + 1);

/** 10.240.0.0/12 and fd00:240::. */
export const endpointAddress = (
  family: Family,
  world: World,
  service: number,
  endpoint: number,
): Words => address(family, 0x0af00000, 0x240, service * world.endpointsEach + endpoint + 1);

/** 10.208.0.0/12 and fd00:208::. */
export const clientAddress = (family: Family, client: number): Words =>
  address(family, 0x0ad00000, 0x208, client + 1);

/** What contains every Pod, as kube-proxy's --cluster-cidr. */
export const clusterCidr = (family: Family): string =>
  family === 4 ? '10.192.0.0/10' : 'fd00:200::/24';

function address(family: Family, base4: number, base6: number, host: number): Words {
  return family === 4 ? [base4 + host, 0, 0, 0] : [0xfd000000 + base6, 0, 0, host];
}

/** `10.96.0.1` or `fd00:96::1`. */
export function addressText(family: Family, words: Words): string {
  const [first, , , last] = words;
  if (family === 6) return `fd00:${(first & 0xffff).toString(16)}::${lowWords(last)}`;
  return `${first >>> 24}.${(first >>> 16) & 255}.${(first >>> 8) & 255}.${first & 255}`;
}

function lowWords(word: number): string {
  const low = (word & 0xffff).toString(16);
  return word > 0xffff ? `${(word >>> 16).toString(16)}:${low}` : low;
}

export function endpointText(family: Family, words: Words, port: number): string {
  const text = addressText(family, words);
  return family === 4 ? `${text}:${port}` : `[${text}]:${port}`;
}

export const serviceName = (service: number): string => `svc-${service}`;
export const podName = (service: number, endpoint: number): string => `svc-${service}-${endpoint}`;

/** The same bits for the same numbers (lowbias32, Chris Wellons' search for integer hashes). */
export function scramble(n: number): number {
  let x = n >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Whether something that happens with this share happens to number `n`. */
export const happens = (n: number, salt: number, share: number): boolean =>
  scramble(scramble(n) ^ salt) < share * 2 ** 32;
