import { isCapture } from '../../decode/capture/reader.js';
import { recogniseCluster } from '../../decode/cluster/recognise.js';
import { conntrackKind } from '../../decode/conntrack/recognise.js';
import { isIpJson } from '../../decode/net/ip-json.js';
import { isIpRoutes } from '../../decode/net/ip-routes.js';
import { isRecording } from '../../decode/record/block-scanner.js';
import { isIptablesSave } from '../../decode/rules/iptables-save.js';

/** What an input is. */
export type InputKind =
  | 'recording'
  | 'capture'
  | 'conntrack-xml'
  | 'conntrack-text'
  | 'iptables-save'
  | 'nft-json'
  | 'cluster-document'
  | 'cluster-watch'
  | 'ip-json'
  | 'ip-routes'
  | 'empty'
  | 'unknown';

/** `nft -j list ruleset` (libnftables-json(5)): one object whose only member is the array `nftables`. */
const NFT_JSON = /^\s*\{\s*"nftables"\s*:/;

/** What an input is by its first 64 KiB (all, if it has less), whatever it is called. */
export function recognise(first: Uint8Array): InputKind {
  if (first.length === 0) return 'empty';
  if (isRecording(first)) return 'recording';
  if (isCapture(first) !== undefined) return 'capture';
  if (isIptablesSave(first)) return 'iptables-save';
  const conntrack = conntrackKind(first);
  if (conntrack !== undefined) return conntrack === 'xml' ? 'conntrack-xml' : 'conntrack-text';
  if (isIpJson(first)) return 'ip-json';
  if (isIpRoutes(first)) return 'ip-routes';
  if (NFT_JSON.test(new TextDecoder().decode(first.subarray(0, 256)))) return 'nft-json';
  const cluster = recogniseCluster(first);
  if (cluster !== undefined) return cluster === 'watch' ? 'cluster-watch' : 'cluster-document';
  return 'unknown';
}
