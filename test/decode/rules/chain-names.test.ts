import { expect, test } from 'vitest';
import {
  endpointChainHash,
  hashOfServiceChain,
  parseServicePortName,
  serviceChainHash,
  spellings,
} from '../../../src/decode/rules/chain-names.js';

test.each([
  ['default/kubernetes:https', 'tcp', 'NPX46M4PTMTKRN6Y'],
  ['default/nginx:', 'tcp', '4N57TFCL4MD7ZTDA'],
  ['default/nginx', 'tcp', '2CMXP7HKUVJN7L6M'],
  ['default/nginx', 'udp', 'YCQ6VRYU63HO7L7Q'],
  ['default/nginx:http', 'tcp', 'P4Q3KNUAWJVP4ILH'],
  ['kube-system/kube-dns:dns', 'udp', 'TCOU7JCQXEZGVUNU'],
  ['kube-system/kube-dns:dns-tcp', 'tcp', 'ERIFXISQEP7F7OF4'],
  ['kube-system/kube-dns:metrics', 'tcp', 'JD5MR3NA4I4DYORP'],
  ['default/redis-nodeport-local:', 'tcp', '5ETJGCYWCRYR2EKE'],
  ['default/test-svc', 'tcp', 'QKNQQNIN727HO3XU'],
  ['ns1/svc1:p80', 'tcp', 'XPGD46QRK7WJZT7O'],
  ['ns5/svc5:p80', 'tcp', 'NUKIZ6OKUXPJNT4C'],
])('the chains of %s over %s end in %s', (name, protocol, hash) => {
  expect(serviceChainHash(name, protocol)).toBe(hash);
});

test.each([
  ['ns1/svc1:p80', 'tcp', '10.180.0.1:80', 'SXIVWICOYRO3J4NJ'],
  ['ns4/svc4:p80', 'tcp', '10.180.0.5:80', 'C6EBXVWJJZMIWKLZ'],
  ['ns5/svc5:p80', 'tcp', '10.180.0.3:80', 'I77PXRDZVX7PMWMN'],
  ['default/nginx', 'tcp', '10.244.1.5:80', 'IZW656N5ZXYN5BEC'],
  ['default/nginx:', 'tcp', '10.244.1.5:80', 'BHMRCVVKVIDZA6NJ'],
  ['default/nginx', 'tcp', '[fd00:10:244::5]:80', '56ZDOCNAW7BIRD73'],
  ['default/kubernetes:https', 'tcp', '192.168.49.2:8443', 'VPILYQBSPPXYB66K'],
  ['kube-system/kube-dns:dns', 'udp', '10.244.0.2:53', 'YIL6JZP7A3QYXJU2'],
  ['default/nginx:', 'tcp', '10.44.0.1:80', 'RNUA2WF32F4IZIFK'],
])('the endpoint chain of %s over %s at %s ends in %s', (name, protocol, endpoint, hash) => {
  expect(endpointChainHash(name, protocol, endpoint)).toBe(hash);
});

test.each([
  ['KUBE-SVC-2CMXP7HKUVJN7L6M', '2CMXP7HKUVJN7L6M'],
  ['KUBE-SVL-2CMXP7HKUVJN7L6M', '2CMXP7HKUVJN7L6M'],
  ['KUBE-EXT-2CMXP7HKUVJN7L6M', '2CMXP7HKUVJN7L6M'],
  ['KUBE-XLB-2CMXP7HKUVJN7L6M', '2CMXP7HKUVJN7L6M'],
  ['KUBE-FW-2CMXP7HKUVJN7L6M', '2CMXP7HKUVJN7L6M'],
  ['KUBE-SEP-IZW656N5ZXYN5BEC', undefined],
  ['KUBE-SVC-2CMXP7HKUVJN7L6', undefined],
  ['KUBE-SVC-2CMXP7HKUVJN7L6M1', undefined],
  ['KUBE-SERVICES', undefined],
  ['', undefined],
])('%j carries the hash %s', (chain, hash) => {
  expect(hashOfServiceChain(chain)).toBe(hash);
});

test.each([
  ['default/nginx', { namespace: 'default', name: 'nginx' }],
  ['default/nginx:', { namespace: 'default', name: 'nginx' }],
  ['default/nginx:http', { namespace: 'default', name: 'nginx', portName: 'http' }],
  ['nginx', undefined],
  ['default/nginx cluster IP', undefined],
  ['a/b/c', undefined],
  ['a/b:c:d', undefined],
  ['/b', undefined],
  ['a/', undefined],
  ['', undefined],
  [`${'a'.repeat(254)}/b`, undefined],
])('%j is read as a Service port', (text, name) => {
  expect(parseServicePortName(text)).toEqual(name);
});

test('the unnamed port has two spellings, a named one has one', () => {
  expect(spellings({ namespace: 'a', name: 'b' })).toEqual(['a/b', 'a/b:']);
  expect(spellings({ namespace: 'a', name: 'b', portName: 'c' })).toEqual(['a/b:c']);
});
