import { sha256 } from '@noble/hashes/sha2.js';
import type { ServicePortName } from '../../model/services.js';

/**
 * Names of kube-proxy's chains: a prefix and the first 16 characters of the base32 (RFC 4648, upper
 * case) of a SHA-256 (kubernetes pkg/proxy/iptables/proxier.go, portProtoHash and
 * servicePortEndpointChainName). The hashed text has no separators: `default/nginxtcp`,
 * `default/nginxtcp10.244.1.5:80`.
 */
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const HASH_CHARACTERS = 16;
const SERVICE_CHAIN = /^KUBE-(?:SVC|SVL|EXT|XLB|FW)-([A-Z2-7]{16})$/;

const encoder = new TextEncoder();

/** The first 16 characters of the base32 of a text's SHA-256: what kube-proxy makes names of in every mode. */
export function nameHash(text: string): string {
  const digest = sha256(encoder.encode(text));
  let out = '';
  let bits = 0;
  let held = 0;
  for (let i = 0; out.length < HASH_CHARACTERS; i++) {
    held = ((held << 8) | (digest[i] ?? 0)) & 0xffff;
    bits += 8;
    while (bits >= 5 && out.length < HASH_CHARACTERS) {
      bits -= 5;
      out += ALPHABET[(held >>> bits) & 31] ?? '';
    }
  }
  return out;
}

/**
 * The 16 characters that KUBE-SVC-, KUBE-SVL-, KUBE-EXT-, KUBE-XLB- and KUBE-FW- of one Service port
 * share. `servicePortName` as kube-proxy spells it (see `spellings`), `protocol` in lower case.
 */
export function serviceChainHash(servicePortName: string, protocol: string): string {
  return nameHash(servicePortName + protocol);
}

/** The 16 characters after KUBE-SEP-. `endpoint` is `ip:port`, or `[ip]:port` for IPv6. */
export function endpointChainHash(
  servicePortName: string,
  protocol: string,
  endpoint: string,
): string {
  return nameHash(servicePortName + protocol + endpoint);
}

/** The 16 characters of a per-Service chain's name; `undefined` for any other chain. */
export function hashOfServiceChain(chain: string): string | undefined {
  return chain.startsWith('KUBE-') ? SERVICE_CHAIN.exec(chain)?.[1] : undefined;
}

/**
 * How kube-proxy writes a Service port's name. The unnamed port has two spellings: `ns/name` since
 * Kubernetes 1.20 (first), `ns/name:` up to 1.19.
 */
export function spellings(name: ServicePortName): readonly string[] {
  const service = `${name.namespace}/${name.name}`;
  return name.portName === undefined ? [service, `${service}:`] : [`${service}:${name.portName}`];
}

/** The labels that the API server admits (RFC 1123) hold neither '/' nor ':' nor a blank. */
const SERVICE_PORT_NAME = /^([a-z0-9.-]{1,253})\/([a-z0-9.-]{1,253})(?::([a-zA-Z0-9-]{0,63}))?$/;

/** Reads `ns/name:port`, `ns/name` or `ns/name:`; `undefined` if it is not that. */
export function parseServicePortName(text: string): ServicePortName | undefined {
  const m = SERVICE_PORT_NAME.exec(text);
  if (!m) return undefined;
  const [, namespace = '', name = '', portName] = m;
  return portName === undefined || portName === ''
    ? { namespace, name }
    : { namespace, name, portName };
}
