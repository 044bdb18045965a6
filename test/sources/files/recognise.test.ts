import { expect, test } from 'vitest';
import { type InputKind, recognise } from '../../../src/sources/files/recognise.js';
import { recordedBytes } from './replayed.js';

const RECORDED: readonly (readonly [string, InputKind])[] = [
  ['client.pcap', 'capture'],
  ['any.pcap', 'capture'],
  ['multi.pcapng', 'capture'],
  ['conntrack.xml', 'conntrack-xml'],
  ['conntrack-events.xml', 'conntrack-xml'],
  ['conntrack-ext.txt', 'conntrack-text'],
  ['conntrack-events.txt', 'conntrack-text'],
  ['iptables-save.txt', 'iptables-save'],
  ['ip6tables-save.txt', 'iptables-save'],
  ['snap/iptables-save-1795377468.889.txt', 'iptables-save'],
  ['api/pods.json', 'cluster-document'],
  ['api/services.json', 'cluster-document'],
  ['api/endpointslices.json', 'cluster-document'],
  ['api/nodes.json', 'cluster-document'],
  ['net/addr.json', 'ip-json'],
  ['net/link.json', 'ip-json'],
  ['net/route.json', 'ip-routes'],
  ['meta.json', 'unknown'],
  ['truth.jsonl', 'unknown'],
];

test.each(RECORDED)('%s of a recording is recognised as %s', (path, kind) => {
  expect(recognise(recordedBytes(path).subarray(0, 65_536))).toBe(kind);
});

const MADE: readonly (readonly [string, string, InputKind])[] = [
  ['nothing', '', 'empty'],
  ['a line feed', '\n', 'unknown'],
  ['prose', 'Dear diary,\ntoday I pinged a Pod.\n', 'unknown'],
  ['an nft rule set', '{"nftables": [{"metainfo": {"version": "1.0.6"}}]}', 'nft-json'],
  ['a pretty-printed nft rule set', '{\n  "nftables": [\n', 'nft-json'],
  ['an nft rule set as text', 'table ip kube-proxy { # handle 46\n', 'unknown'],
  ['JSON of something else', '{"hello":"world"}', 'unknown'],
  ['an empty array', '[]', 'unknown'],
  [
    'a neighbour table',
    '[{"dst":"10.0.0.1","dev":"eth0","lladdr":"02:00:00:00:00:01"}]',
    'unknown',
  ],
  ['pretty-printed addresses', '[ {\n        "ifindex": 1,\n        "ifname": "lo",\n', 'ip-json'],
  [
    'a watch event',
    '{"t": 1795377425.6, "resource": "pods", "type": "ADDED", "object": {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}}\n',
    'cluster-watch',
  ],
];

test.each(MADE)('%s is recognised', (_name, text, kind) => {
  expect(recognise(new TextEncoder().encode(text))).toBe(kind);
});

test.each(RECORDED)(
  '%s cut at any length is recognised as what it is or not at all',
  (path, kind) => {
    const bytes = recordedBytes(path);
    for (let length = 1; length < 600; length += 7) {
      expect([kind, 'unknown']).toContain(recognise(bytes.subarray(0, length)));
    }
  },
);
