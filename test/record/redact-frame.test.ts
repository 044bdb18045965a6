import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { FrameDecoder } from '../../src/decode/capture/frame.js';
import { FrameRedactor } from '../../src/decode/record/redact/frame.js';
import { Pseudonyms } from '../../src/decode/record/redact/pseudonyms.js';
import { formatAddress, parseAddress } from '../../src/model/address.js';
import {
  P_ACK,
  P_CLASS,
  P_DPORT,
  P_DST,
  P_FAMILY,
  P_FLAGS,
  P_PROTOCOL,
  P_SENDER,
  P_SEQ,
  P_SPORT,
  P_SRC,
} from '../../src/model/packet.js';
import { PacketRows } from '../../src/model/packet-rows.js';
import {
  authentication,
  bytesOf,
  chunk,
  concat,
  ethernet,
  extension,
  fragment6,
  geneve,
  icmp,
  initBody,
  ipv4,
  ipv6,
  pcap,
  sctp,
  sll,
  sll2,
  synOptions,
  tcp,
  udp,
  vxlan,
} from '../support/capture-builder.js';
import { seeded } from '../support/seeded.js';

const KEY = Uint8Array.from({ length: 32 }, (_, i) => 255 - i * 5);
const pseudonyms = new Pseudonyms(KEY);
const redactor = new FrameRedactor(pseudonyms);
const folder = mkdtempSync(join(tmpdir(), 'whichpod-redact-frame-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ETHERNET = 1;
const RAW = 101;
const SLL = 113;
const SLL2 = 276;

// Unlike in every byte, so that a part of one would be recognised.
const CLIENT = '10.171.93.46';
const SERVICE = '10.206.119.58';
const ROUTER = '172.29.183.71';
const HERE = '192.0.201.137';
const THERE = '192.0.201.151';
const CLIENT6 = 'fd5e:91c3:7ab8:6d24:b1e7:39ac:8f52:4c68';
const SERVICE6 = 'fd5e:91c3:e6d1:58f3:a74c:92b5:3d7e:c19a';
const ROUTER6 = 'fd5e:c87b:2f96:d35a:81e4:67bc:f03d:95a2';
const HARDWARE = [
  bytesOf(0x0a, 0x58, 10, 171, 93, 46),
  bytesOf(0x06, 0xb3, 0x9d, 0x71, 0xe5, 0x2c),
];
const V4 = [CLIENT, SERVICE, ROUTER, HERE, THERE];
const V6 = [CLIENT6, SERVICE6, ROUTER6];
const SECRET = new TextEncoder().encode('\x07\x03web\x04shop\x03svc, a payload');

const v4 = (payload: Uint8Array, protocol: number, more = {}) =>
  ipv4(payload, { src: CLIENT, dst: SERVICE, protocol, ...more });
const back4 = (payload: Uint8Array, protocol: number, more = {}) =>
  ipv4(payload, { src: ROUTER, dst: CLIENT, protocol, ...more });
const v6 = (payload: Uint8Array, next: number) =>
  ipv6(payload, { src: CLIENT6, dst: SERVICE6, next });
const back6 = (payload: Uint8Array, next: number) =>
  ipv6(payload, { src: ROUTER6, dst: CLIENT6, next });
const outer = (payload: Uint8Array, protocol: number) =>
  ipv4(payload, { src: HERE, dst: THERE, protocol });

const syn = tcp({ options: synOptions() });
const fin = tcp({ flags: 0x11, options: concat(bytesOf(1, 1, 8, 10), new Uint8Array(8)) });
const query = udp(SECRET);
const init = sctp(
  // The address of a parameter "IPv4 Address" (RFC 9260, 3.3.2.1).
  chunk(1, initBody(0x5e6f_7a8b, concat(bytesOf(0, 5, 0, 8), addressBytes(CLIENT)))),
);
/** TOA and MPTCP's ADD_ADDR: options that name an address. */
const naming = tcp({
  options: concat(
    bytesOf(254, 8, 0x8c, 0xc1),
    addressBytes(CLIENT),
    bytesOf(30, 8, 0x30, 1),
    addressBytes(HERE),
  ),
});
/** A record-route option with two addresses, and its end. */
const route = concat(bytesOf(7, 11, 12), addressBytes(ROUTER), addressBytes(HERE), bytesOf(0));
/** Routing header of type 0 with an address to go by (RFC 2460). */
const by6 = (payload: Uint8Array, next: number) =>
  concat(bytesOf(next, 2, 0, 1, 0, 0, 0, 0), addressBytes(ROUTER6), payload);

/** Frames by their link and what is in them. */
const frames: readonly (readonly [name: string, link: number, frame: Uint8Array])[] = [
  ['a SYN', ETHERNET, ethernet(v4(syn, 6))],
  ['a FIN with data', ETHERNET, ethernet(v4(concat(fin, SECRET), 6))],
  ['a SYN with options that name addresses', ETHERNET, ethernet(v4(naming, 6))],
  ['a SYN over a recorded route', ETHERNET, ethernet(v4(syn, 6, { options: route }))],
  ['a SYN in two VLANs', ETHERNET, ethernet(v4(syn, 6), { tags: [0x88a8, 0x8100] })],
  ['a query', ETHERNET, ethernet(v4(query, 17))],
  ['an empty datagram', ETHERNET, ethernet(v4(udp(new Uint8Array(0)), 17))],
  ['an INIT', ETHERNET, ethernet(v4(init, 132))],
  [
    'an ABORT with a cause',
    ETHERNET,
    ethernet(v4(sctp(chunk(6, concat(bytesOf(0, 11, 0, 8), addressBytes(SERVICE)))), 132)),
  ],
  ['a first fragment', ETHERNET, ethernet(v4(query, 17, { fragment: 0x2000 }))],
  ['a later fragment', ETHERNET, ethernet(v4(SECRET, 17, { fragment: 0x2007 }))],
  ['an IPv6 SYN', ETHERNET, ethernet(v6(syn, 6))],
  ['an IPv6 query', ETHERNET, ethernet(v6(query, 17))],
  ['an IPv6 INIT in a VLAN', ETHERNET, ethernet(v6(init, 132), { tags: [0x8100] })],
  ['an IPv6 SYN behind options', ETHERNET, ethernet(v6(extension(extension(syn, 6, 2), 60), 0))],
  ['an IPv6 SYN behind a route', ETHERNET, ethernet(v6(by6(syn, 6), 43))],
  ['an authenticated IPv6 SYN', ETHERNET, ethernet(v6(authentication(syn, 6), 51))],
  ['a first IPv6 fragment', ETHERNET, ethernet(v6(fragment6(query, 17, 0, true), 44))],
  ['a later IPv6 fragment', ETHERNET, ethernet(v6(fragment6(SECRET, 17, 9, false), 44))],
  ['port unreachable for a query', ETHERNET, ethernet(back4(icmp(3, 3, v4(query, 17)), 1))],
  ['port unreachable for a SYN', ETHERNET, ethernet(back4(icmp(3, 3, v4(syn, 6)), 1))],
  [
    'time exceeded for the eight bytes of a SYN',
    ETHERNET,
    ethernet(back4(icmp(11, 0, v4(syn.subarray(0, 8), 6, { length: 60 })), 1)),
  ],
  ['host unreachable for an INIT', ETHERNET, ethernet(back4(icmp(3, 1, v4(init, 132)), 1))],
  [
    'an ICMP error about options',
    ETHERNET,
    ethernet(back4(icmp(12, 0, v4(syn, 6, { options: route })), 1)),
  ],
  [
    'an ICMP error about an ICMP error',
    ETHERNET,
    ethernet(
      back4(
        icmp(3, 3, ipv4(icmp(3, 3, v4(syn, 6)), { src: SERVICE, dst: ROUTER, protocol: 1 })),
        1,
      ),
    ),
  ],
  [
    'a redirect',
    ETHERNET,
    ethernet(back4(concat(bytesOf(5, 1, 0, 0), addressBytes(HERE), v4(syn, 6)), 1)),
  ],
  ['an echo', ETHERNET, ethernet(back4(icmp(8, 0, SECRET), 1))],
  ['IPv6 port unreachable for a query', ETHERNET, ethernet(back6(icmp(1, 4, v6(query, 17)), 58))],
  ['an IPv6 packet too big', ETHERNET, ethernet(back6(icmp(2, 0, v6(syn, 6)), 58))],
  [
    'a neighbour solicitation',
    ETHERNET,
    ethernet(
      back6(
        icmp(135, 0, concat(addressBytes(SERVICE6), bytesOf(1, 1), HARDWARE[0] ?? bytesOf())),
        58,
      ),
    ),
  ],
  [
    'an ARP request',
    ETHERNET,
    ethernet(
      concat(
        bytesOf(0, 1, 8, 0, 6, 4, 0, 1),
        HARDWARE[0] ?? bytesOf(),
        addressBytes(CLIENT),
        new Uint8Array(6),
        addressBytes(SERVICE),
      ),
      { type: 0x0806 },
    ),
  ],
  [
    'VXLAN of flannel',
    ETHERNET,
    ethernet(outer(udp(vxlan(hard(ethernet(v4(syn, 6)), 0)), { dport: 8472 }), 17)),
  ],
  [
    'VXLAN with an IPv6 query',
    ETHERNET,
    ethernet(outer(udp(vxlan(hard(ethernet(v6(query, 17)), 0)), { dport: 4789 }), 17)),
  ],
  [
    'Geneve with an option',
    ETHERNET,
    ethernet(
      outer(
        udp(
          geneve(hard(ethernet(v4(syn, 6)), 0), {
            options: concat(bytesOf(1, 2, 3, 1), addressBytes(CLIENT)),
          }),
          { dport: 6081 },
        ),
        17,
      ),
    ),
  ],
  ['IP in IP', ETHERNET, ethernet(outer(v4(syn, 6), 4))],
  ['IPv6 in IP', ETHERNET, ethernet(outer(v6(query, 17), 41))],
  ['an ICMP error in IP in IP', ETHERNET, ethernet(outer(back4(icmp(3, 3, v4(query, 17)), 1), 4))],
  ['IP in IP in IP in IP', ETHERNET, ethernet(outer(outer(outer(v4(syn, 6), 4), 4), 4))],
  ['GRE', ETHERNET, ethernet(outer(concat(bytesOf(0, 0, 8, 0), v4(syn, 6)), 47))],
  ['IGMP', ETHERNET, ethernet(v4(concat(bytesOf(0x16, 0, 0, 0), addressBytes(HERE)), 2))],
  ['a SYN that comes out of a tunnel', RAW, v4(syn, 6)],
  ['an IPv6 query that comes out of a tunnel', RAW, v6(query, 17)],
  ['a cooked SYN', SLL, sll(v4(syn, 6))],
  ['a cooked query in a VLAN', SLL, sll(v6(query, 17), { tags: [0x8100] })],
  ['a SYN cooked the other way', SLL2, sll2(v4(syn, 6))],
  ['a query in a VLAN cooked the other way', SLL2, sll2(v6(query, 17), { tags: [0x8100] })],
  ['a link of another kind', 105, v4(syn, 6)],
].map(
  ([name, link, frame]) => [name, link, hard(frame as Uint8Array, link as number)] as const,
) as never;

function addressBytes(text: string): Uint8Array {
  const words = new Uint32Array(4);
  const family = parseAddress(text, words, 0);
  const bytes = new Uint8Array(16);
  for (const [w, word] of words.entries()) new DataView(bytes.buffer).setUint32(w * 4, word);
  return family === 4 ? bytes.slice(12) : bytes;
}

/** With hardware addresses that are like nothing else; link 0: in a tunnel. */
function hard(frame: Uint8Array, link: number): Uint8Array {
  const [a = bytesOf(), b = bytesOf()] = HARDWARE;
  const whole = frame.slice();
  if (link === ETHERNET || link === 0) whole.set(concat(a, b));
  else if (link === SLL) whole.set(a, 6);
  else if (link === SLL2) whole.set(a, 12);
  return whole;
}

const addresses = [...V4, ...V6].map((one) => Buffer.from(addressBytes(one)));
/** All that must not be found: parts of it, where they are long enough to be no chance. */
const secrets: readonly Buffer[] = [
  ...V4.flatMap((one) => windows(addressBytes(one), 3)),
  ...V6.flatMap((one) => windows(addressBytes(one).subarray(2), 3)),
  ...HARDWARE.flatMap((one) => windows(one, 3)),
  ...windows(SECRET, 4),
];

function windows(bytes: Uint8Array, length: number): Buffer[] {
  return Array.from({ length: bytes.length - length + 1 }, (_, i) =>
    Buffer.from(bytes.subarray(i, i + length)),
  );
}

function found(bytes: Uint8Array): string | undefined {
  const all = Buffer.from(bytes);
  return secrets.find((one) => all.includes(one))?.toString('hex');
}

/** What a decoder reads of a frame, with addresses as text. */
function told(link: number, frame: Uint8Array, onWire: number) {
  const rows = new PacketRows();
  const row = new FrameDecoder(rows).decode(link, frame, 0, frame.length, onWire);
  if (row < 0) return undefined;
  const { words } = rows;
  const family = words[row + P_FAMILY] ?? 0;
  const [source, destination, sender] = [P_SRC, P_DST, P_SENDER].map((at) =>
    words.slice(row + at, row + at + 4).some((word) => word !== 0)
      ? formatAddress(words, row + at, family)
      : '',
  );
  const others = [P_PROTOCOL, P_CLASS, P_FLAGS, P_SPORT, P_DPORT, P_SEQ, P_ACK].map(
    (at) => words[row + at],
  );
  return { addresses: [source, destination, sender], others };
}

/** Of these the outer headers alone are kept, or what they quote is not enough. */
const SHORTENED = /VXLAN|Geneve/;

describe('a redacted frame', () => {
  it.each(frames)(
    'of %s has nothing of its addresses and payload, wherever it is cut',
    (_, link, whole) => {
      for (let captured = 0; captured <= whole.length; captured++) {
        // Between other bytes, as in a ring's block.
        const block = concat(whole, whole.subarray(0, captured), whole);
        const frame = redactor.headers(link, block, whole.length, captured);
        expect(frame.length).toBeLessThanOrEqual(captured);
        expect(found(frame), `${captured} bytes`).toBe(undefined);
      }
    },
  );

  it.each(frames)('of %s says what the frame did, of pseudonyms', (name, link, whole) => {
    const frame = redactor.headers(link, whole, 0, whole.length);
    const [before, after] = [told(link, whole, whole.length), told(link, frame, whole.length)];
    if (before === undefined || SHORTENED.test(name)) return;
    expect(after).toEqual({
      addresses: before.addresses.map((one) => one && pseudonyms.addressText(one)),
      others: before.others,
    });
  });

  it('leaves the capture as it is', () => {
    for (const [, link, whole] of frames) {
      const copy = whole.slice();
      redactor.headers(link, whole, 0, whole.length);
      expect(whole).toEqual(copy);
    }
  });

  it('keeps nothing of a link of another kind', () => {
    expect(redactor.headers(105, v4(syn, 6), 0, 60)).toHaveLength(0);
  });

  it('keeps broadcast, and that a group of hardware is one', () => {
    const frame = ethernet(v4(query, 17));
    frame.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00, 0x5e, 0x7b, 0x3c, 0x19]);
    const redacted = redactor.headers(ETHERNET, frame, 0, frame.length);
    expect([...redacted.subarray(0, 6)]).toEqual([255, 255, 255, 255, 255, 255]);
    expect((redacted[6] ?? 0) & 3).toBe(3);
    expect(Buffer.from(redacted).includes(Buffer.from([0x5e, 0x7b, 0x3c, 0x19]))).toBe(false);
  });

  it('has none of the addresses where any byte of it is another, and never more than was captured', () => {
    const random = seeded(17);
    for (const [name, link, whole] of frames) {
      // By a lie about lengths an address among the options comes to stand where none is.
      if (/options that name|INIT|ABORT/.test(name)) continue;
      for (let n = 0; n < 150; n++) {
        const bytes = whole.slice();
        const at = Math.floor(random() * bytes.length);
        bytes[at] = Math.floor(random() * 256);
        const frame = redactor.headers(link, bytes, 0, bytes.length);
        expect(frame.length).toBeLessThanOrEqual(bytes.length);
        const all = Buffer.from(frame);
        const left = addresses.find((one) => all.includes(one));
        expect(left?.toString('hex'), `${name}, byte ${at}: ${bytes[at]}`).toBe(undefined);
      }
    }
  });

  it('has checksums that are right, or none where not all of it is kept', (context) => {
    const byLink = new Map<number, { frame: Uint8Array; onWire: number }[]>();
    for (const [name, link, whole] of frames) {
      // Four deep is more than it looks into, and the innermost is no packet afterwards.
      if (link === 105 || /in IP in IP in IP|GRE|IGMP/.test(name)) continue;
      const frame = redactor.headers(link, whole, 0, whole.length);
      byLink.set(link, [...(byLink.get(link) ?? []), { frame, onWire: whole.length }]);
    }
    let bad = 0;
    for (const [linkType, records] of byLink) {
      const file = join(folder, `${linkType}.pcap`);
      writeFileSync(file, pcap(records, { linkType }));
      const checked = ['ip', 'tcp', 'udp'].flatMap((one) => ['-o', `${one}.check_checksum:TRUE`]);
      const fields = ['ip', 'tcp', 'udp', 'icmp', 'icmpv6'].flatMap((one) => [
        '-e',
        `${one}.checksum.status`,
      ]);
      const tshark = spawnSync(
        'tshark',
        ['-r', file, ...checked, '-T', 'fields', '-E', 'separator=|', ...fields],
        { encoding: 'utf8' },
      );
      if (tshark.error !== undefined) {
        if (process.env['CI'] !== undefined) throw tshark.error;
        context.skip('tshark is not there');
      }
      const lines = tshark.stdout.trimEnd().split('\n');
      expect(lines).toHaveLength(records.length);
      // 0 bad, 1 good, 2 not verified, 3 not there.
      for (const line of lines) if (/(?:^|[|,])0(?:$|[|,])/.test(line)) bad++;
      expect(lines.filter((line) => /(?:^|[|,])1(?:$|[|,])/.test(line)).length).toBeGreaterThan(0);
    }
    expect(bad).toBe(0);
  });
});
