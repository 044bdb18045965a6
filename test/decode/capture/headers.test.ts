import { describe, expect, it } from 'vitest';
import { headerBytes } from '../../../src/decode/capture/headers.js';
import { seeded } from '../../support/seeded.js';

const ETHERNET = 1;
const RAW = 101;
const SLL = 113;
const ethernet = (type: number): number[] => [...Array(12).fill(1), type >> 8, type & 255];
const ipv4 = (protocol: number, words = 5, fragment = 0): number[] => [
  0x40 | words,
  0,
  0,
  0,
  0,
  0,
  fragment >> 8,
  fragment & 255,
  64,
  protocol,
  ...Array(words * 4 - 10).fill(0),
];
const ipv6 = (next: number): number[] => [0x60, 0, 0, 0, 0, 0, next, 64, ...Array(32).fill(0)];
const tcp = (words: number): number[] => [
  ...Array(12).fill(0),
  words << 4,
  ...Array(words * 4 - 13).fill(0),
];
const udp = Array(8).fill(0);
const PAYLOAD = Array(100).fill(0x61);

describe('headers end', () => {
  it.each<[string, number, number[]]>([
    ['behind TCP’s options', ETHERNET, [...ethernet(0x800), ...ipv4(6), ...tcp(10)]],
    ['behind UDP, with IPv4’s options', ETHERNET, [...ethernet(0x800), ...ipv4(17, 7), ...udp]],
    [
      'behind two VLAN tags',
      ETHERNET,
      [...ethernet(0x88a8), 0, 1, 0x81, 0, 0, 2, 8, 0, ...ipv4(17), ...udp],
    ],
    ['in Linux cooked captures', SLL, [...Array(14).fill(0), 8, 0, ...ipv4(6), ...tcp(5)]],
    ['without a link header, of IPv6', RAW, [...ipv6(17), ...udp]],
    [
      'behind IPv6’s extensions',
      RAW,
      [...ipv6(0), 60, 1, ...Array(14).fill(0), 6, 0, ...Array(6).fill(0), ...tcp(8)],
    ],
    ['before the payload of a later fragment', RAW, ipv4(17, 5, 7)],
    [
      'behind what an ICMP error quotes',
      RAW,
      [...ipv4(1), 3, 3, ...Array(6).fill(0), ...ipv4(17), ...udp],
    ],
    [
      'behind what an ICMPv6 error quotes',
      RAW,
      [...ipv6(58), 1, 4, ...Array(6).fill(0), ...ipv6(17), ...udp],
    ],
    ['of an echo behind its own', RAW, [...ipv4(1), 8, 0, ...Array(6).fill(0)]],
    ['behind SCTP’s first chunk’s fixed part', RAW, [...ipv4(132), ...Array(32).fill(0)]],
    ['of an unknown transport behind IP', RAW, ipv4(200)],
    ['of an unknown network behind the link', ETHERNET, ethernet(0x1234)],
    ['of ARP behind it', ETHERNET, [...ethernet(0x806), ...Array(28).fill(0)]],
  ])('%s', (_, link, headers) => {
    const bytes = new Uint8Array([9, 9, 9, ...headers, ...PAYLOAD]);
    expect(headerBytes(link, bytes, 3, bytes.length - 3)).toBe(headers.length);
    for (let length = 0; length < headers.length; length++) {
      expect(headerBytes(link, bytes.subarray(0, 3 + length), 3, length)).toBeLessThanOrEqual(
        length,
      );
    }
  });

  it('within what there is, whatever that is', () => {
    const random = seeded(9);
    for (let i = 0; i < 5_000; i++) {
      const bytes = Uint8Array.from({ length: Math.floor(random() * 120) }, () => random() * 256);
      const end = headerBytes([ETHERNET, RAW, SLL, 7][i & 3] ?? 1, bytes, 0, bytes.length);
      expect(end).toBeGreaterThanOrEqual(0);
      expect(end).toBeLessThanOrEqual(bytes.length);
    }
  });
});
