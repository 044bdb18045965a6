import { scramble } from '../generate/world.js';

// linux/netlink.h, linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h
const CREATE = 0x1 | 0x400 | 0x200; // NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL
const IPCTNL_MSG_CT_NEW = 1 << 8;
const NESTED = 0x8000;
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_STATUS = 3;
const CTA_PROTOINFO = 4;
const CTA_TIMEOUT = 7;
const ESTABLISHED = 3;
const SEEN_REPLY_ASSURED_CONFIRMED = 0x2 | 0x4 | 0x8;

/** Longer than any benchmark runs. */
const TIMEOUT_SECONDS = 86_400;

/** The netlink message that makes an established TCP entry, translated to an endpoint; each number another. */
export function dnatEntry(n: number): Buffer {
  const client = 0x0ad00000 + (n % 50_000) + 1;
  const port = 1024 + Math.floor(n / 50_000);
  const service = 0x0a600000 + (scramble(n) % 1000) + 1;
  const endpoint = 0x0af00000 + (scramble(n + 1) % 10_000) + 1;
  const body = Buffer.concat([
    Buffer.of(2, 0, 0, 0), // AF_INET, NFNETLINK_V0, no resource
    attribute(CTA_TUPLE_ORIG | NESTED, tuple(client, service, port, 80)),
    attribute(CTA_TUPLE_REPLY | NESTED, tuple(endpoint, client, 8080, port)),
    attribute(CTA_STATUS, word(SEEN_REPLY_ASSURED_CONFIRMED)),
    attribute(CTA_TIMEOUT, word(TIMEOUT_SECONDS)),
    attribute(CTA_PROTOINFO | NESTED, attribute(1 | NESTED, attribute(1, Buffer.of(ESTABLISHED)))),
  ]);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + body.length, 0);
  header.writeUInt16LE(IPCTNL_MSG_CT_NEW, 4);
  header.writeUInt16LE(CREATE, 6);
  return Buffer.concat([header, body]);
}

/** CTA_TUPLE_IP and CTA_TUPLE_PROTO. */
function tuple(src: number, dst: number, sport: number, dport: number): Buffer {
  const ip = Buffer.concat([attribute(1, word(src)), attribute(2, word(dst))]);
  const proto = [attribute(1, Buffer.of(6)), attribute(2, half(sport)), attribute(3, half(dport))];
  return Buffer.concat([attribute(1 | NESTED, ip), attribute(2 | NESTED, Buffer.concat(proto))]);
}

function attribute(type: number, value: Buffer): Buffer {
  const out = Buffer.alloc(4 + ((value.length + 3) & ~3));
  out.writeUInt16LE(4 + value.length, 0);
  out.writeUInt16LE(type, 2);
  value.copy(out, 4);
  return out;
}

function word(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value >>> 0);
  return out;
}

function half(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16BE(value);
  return out;
}
