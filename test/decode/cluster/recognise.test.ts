import { describe, expect, test } from 'vitest';
import { recogniseCluster } from '../../../src/decode/cluster/recognise.js';
import { recorded } from '../../support/recorded.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const HEAD = 4_096;

describe('what holds Kubernetes objects is recognised by its first bytes', () => {
  const recordings: [string, string][] = [
    ['sources/cluster/data/08-rolling-update/pods.json.gz', 'document'],
    ['sources/cluster/data/08-rolling-update/endpointslices.json.gz', 'document'],
    ['decode/cluster/data/kubectl-pods.json.gz', 'document'],
    ['sources/cluster/data/08-rolling-update/watch.jsonl.gz', 'watch'],
    ['sources/cluster/data/05b-endpoint-dies/watch.jsonl.gz', 'watch'],
  ];
  test.each(recordings)('%s is a %s', (path, expected) => {
    expect(recogniseCluster(recorded(path).subarray(0, HEAD))).toBe(expected);
  });

  const texts: [string, string, string][] = [
    ['one object', '{"kind":"Pod","apiVersion":"v1","metadata":{', 'document'],
    ['a kind that is not used', '{"kind":"DeploymentList","apiVersion":"apps/v1"}', 'document'],
    ['a list without a version', '{"kind":"PodList","items":[]}', 'document'],
    ['an object after a byte order mark', '\ufeff {"apiVersion":"v1","kind":"List"', 'document'],
    ["kubectl's list, kind last", '{\n  "apiVersion": "v1",\n  "items": [\n    {', 'document'],
    ['an array of objects', '[\n  {"kind":"Pod","apiVersion":"v1","metadata":{', 'document'],
    ["the API's watch", '{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1"', 'watch'],
    ['a bookmark', '{"type":"BOOKMARK","object":{"kind":"Node"}}\n', 'watch'],
    ['a watch with sorted keys', '{"object":{"apiVersion":"v1","kind":"Pod"', 'watch'],
  ];
  test.each(texts)('%s', (_name, text, expected) => {
    expect(recogniseCluster(bytes(text))).toBe(expected);
  });
});

describe('what holds something else is left to others', () => {
  const others: [string, string][] = [
    ['nothing', ''],
    ['blank space', ' \n\t'],
    ['a truth file', '{"i": 0, "conn": 0, "from": "pod", "proto": "tcp", "svc": "shop/roll:"}'],
    ['a meta file', '{\n "scenario": "08", "kubeProxy": "1.30", "mode": "iptables"}'],
    ['nft JSON', '{"nftables": [{"metainfo": {"version": "1.0.6"}}]}'],
    ['ip -j addr', '[{"ifindex":1,"ifname":"lo"}]'],
    ['an array of watch events', '[{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1"}}]'],
    ['marks', '[[1795377425.6440158, "template changed"]]'],
    ["whichpod's own output", '{"schema":"whichpod/1","type":"attribution","connection":"x"}'],
    ['an event with another type', '{"type":"loss","object":{"a":1}}'],
    ['a watch over several lines', '{\n "type": "ADDED",\n "object": {"kind":"Pod"}}'],
    ['an object with a kind of its own', '{"kind":"thing","data":1}'],
    ['conntrack XML', '<?xml version="1.0"?><conntrack>'],
    ['rules', '*nat\n:PREROUTING ACCEPT [0:0]'],
    ['YAML', 'apiVersion: v1\nkind: List'],
    ['zeros', '\0\0\0\0'],
  ];
  test.each(others)('%s', (_name, text) => {
    expect(recogniseCluster(bytes(text))).toBeUndefined();
  });
});

test('wherever the first bytes end, the answer is right or there is none', () => {
  const document = recorded('sources/cluster/data/08-rolling-update/nodes.json.gz');
  const watch = recorded('sources/cluster/data/08-rolling-update/watch.jsonl.gz');
  for (let length = 0; length < 600; length++) {
    expect(recogniseCluster(document.subarray(0, length)) ?? 'document').toBe('document');
    expect(recogniseCluster(watch.subarray(0, length)) ?? 'watch').toBe('watch');
  }
});
