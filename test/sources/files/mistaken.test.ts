import { describe, expect, it } from 'vitest';
import { adviceFor } from '../../../src/sources/files/mistaken.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('a file that no reader knows', () => {
  it.each([
    ['nft list ruleset', 'table ip kube-proxy {\n\tcomment "rules"\n}\n', 'nft -j list ruleset'],
    ['nft list ruleset, a later table', '# Warning: x\ntable inet f {\n}\n', 'nft -j list ruleset'],
    [
      'iptables -L',
      'Chain PREROUTING (policy ACCEPT 12 packets, 720 bytes)\n pkts bytes target\n',
      'iptables-save -c',
    ],
    [
      'iptables -L of one chain',
      'Chain KUBE-SVC-4N57TFCL4MD7ZTDA (1 references)\ntarget\n',
      'iptables-save -c',
    ],
    ['ipvsadm -Ln', 'IP Virtual Server version 1.2.1 (size=4096)\n', 'conntrack and packets'],
    ['kubectl get pods -o yaml', 'apiVersion: v1\nitems:\n- apiVersion: v1\n', '-o json'],
    ['EndpointSlices as YAML', '---\napiVersion: discovery.k8s.io/v1\n', '-o json'],
    ['kubectl get pods -o wide', 'NAME    READY   STATUS\nweb-1   1/1   Running\n', '-o json'],
    ['kubectl get svc -A', 'NAMESPACE   NAME   TYPE   CLUSTER-IP\nd  k  ClusterIP\n', '-o json'],
    ['tcpdump -n', '10:20:30.123456 IP 10.0.0.1.5 > 10.0.0.2.80: Flags [S]\n', 'tcpdump -w'],
    ['tcpdump -i any -tt', '1700000000.1 eth0  In  IP6 fd00::1.5 > fd00::2.80:\n', 'tcpdump -w'],
    ['tshark -T json', '[\n  {\n    "_index": "packets-2026"\n', 'the capture itself'],
  ])('that %s printed is told by what can be read', (_, text, instead) => {
    expect(adviceFor(bytes(text))).toContain(instead);
  });

  it.each([
    ['nothing', ''],
    ['prose', 'The Chain of events (policy and all)\n'],
    ['any JSON', '{"a": 1}'],
    ['a NAME that is no table', 'NAME=web READY=1\n'],
    ['bytes', '\0\x01\xff'],
  ])('of which nothing is known (%s) is given no advice', (_, text) => {
    expect(adviceFor(bytes(text))).toBeUndefined();
  });
});
