// What the scripts of this folder share: the addon (another build of it if WHICHPOD_ADDON names one),
// one way to print, and a filter that passes everything.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const ADDON =
  process.env.WHICHPOD_ADDON ??
  fileURLToPath(new URL('../../../native/build/Release/whichpod.node', import.meta.url));
export const addon = createRequire(import.meta.url)(ADDON);

const BPF_RETURN = 0x06;
const everything = (snaplen) => Uint32Array.of(BPF_RETURN, snaplen);

export const ring = (callback = () => {}, options = {}) =>
  new addon.PacketRing(
    { blockBytes: 65536, blocks: 16, blockTimeoutMs: 1, filter: everything(256), ...options },
    callback,
  );

export const netlink = (callback = () => {}, options = {}) =>
  new addon.NetlinkSocket(
    { protocol: 0, groups: [1], receiveBufferBytes: 1 << 20, ...options },
    callback,
  );

const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** RTM_GETLINK (linux/rtnetlink.h) with these flags, in the host's byte order. */
export function linkRequest(flags) {
  const request = new Uint8Array(32);
  const view = new DataView(request.buffer);
  view.setUint32(0, request.length, little);
  view.setUint16(4, 18, little);
  view.setUint16(6, flags, little);
  return request;
}
export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP = 0x300;

export const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
