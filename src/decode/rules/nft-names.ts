import type { ServicePortName } from '../../model/services.js';
import { nameHash } from './chain-names.js';

/**
 * Names of kube-proxy's chains in nftables mode: a prefix, 8 characters of the base32 of a SHA-256 of
 * the rest, and the rest, `<namespace>/<name>/<protocol>/<port name>`, with `__<ip>/<port>` for an
 * endpoint (kubernetes pkg/proxy/nftables/proxier.go, servicePortChainNameBase and
 * servicePortEndpointChainNameBase). `/` occurs in no other chain's name.
 */
const NAME =
  /^(service|local|external|firewall|endpoint)-([A-Z2-7]{8})-(([a-z0-9.-]{1,253})\/([a-z0-9.-]{1,253})\/(tcp|udp|sctp)\/([a-zA-Z0-9-]{0,63})(?:__.*)?)$/;
const HASHED = /^(?:service|local|external|firewall)-([A-Z2-7]{8})-/;
const HASH_CHARACTERS = 8;

/** What the name of a per-Service chain says. */
export interface NftChainName {
  readonly prefix: 'service' | 'local' | 'external' | 'firewall' | 'endpoint';
  readonly service: ServicePortName;
  /** The hash in it is that of the rest: kube-proxy made it. */
  readonly verified: boolean;
}

/** Reads a per-Service chain's name; `undefined` for any other. */
export function parseNftChainName(chain: string): NftChainName | undefined {
  const m = NAME.exec(chain);
  if (!m) return undefined;
  const [, prefix = '', hash = '', rest = '', namespace = '', name = '', , portName = ''] = m;
  return {
    prefix: prefix as NftChainName['prefix'],
    service: portName === '' ? { namespace, name } : { namespace, name, portName },
    verified: nftHash(rest) === hash,
  };
}

/** The 8 characters that stand before a chain's name. */
export function nftHash(rest: string): string {
  return nameHash(rest).slice(0, HASH_CHARACTERS);
}

/** The 8 characters in the name of a Service's chain (not an endpoint's); `undefined` for any other. */
export function hashOfNftChain(chain: string): string | undefined {
  return HASHED.exec(chain)?.[1];
}
