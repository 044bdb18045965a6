import { formatAddress } from '../model/address.js';
import type { End, SeenEntry } from '../model/case.js';
import {
  C_BITS,
  C_EVENT,
  C_FAMILY,
  C_LATENESS,
  C_MARK,
  C_NSEC,
  C_OBYTES,
  C_ODPORT,
  C_ODST,
  C_OPACKETS,
  C_OSPORT,
  C_OSRC,
  C_RBYTES,
  C_RDPORT,
  C_RDST,
  C_RESOLUTION,
  C_RPACKETS,
  C_RSPORT,
  C_RSRC,
  C_SEC,
  C_STATE,
  C_ZONE,
  EVENT_DESTROY,
  EVENT_NEW,
  EVENT_UPDATE,
  HAS_COUNTERS,
  HAS_MARK,
  HAS_REPLY,
  HAS_STATE,
  HAS_STATUS,
  HAS_TIME,
  IS_ASSURED,
  IS_UNREPLIED,
  IS_USERSPACE,
  TCP_STATES,
} from '../model/conntrack.js';
import { nanosOf } from '../model/time.js';

const TWO_32 = 0x1_0000_0000;

/** Puts a row into words. */
export function seenEntry(w: Uint32Array, at: number): SeenEntry {
  const bits = w[at + C_BITS] ?? 0;
  const family = w[at + C_FAMILY] ?? 0;
  const state = (bits & HAS_STATE) === 0 ? undefined : TCP_STATES[w[at + C_STATE] ?? 0];
  const zone = w[at + C_ZONE] ?? 0;
  const end = (ip: number, port: number): End => ({
    ip: formatAddress(w, at + ip, family),
    port: w[at + port] ?? 0,
  });
  const wide = (word: number): number => (w[at + word] ?? 0) + (w[at + word + 1] ?? 0) * TWO_32;
  return {
    ...((bits & HAS_TIME) !== 0 && { time: nanosOf(w[at + C_SEC] ?? 0, w[at + C_NSEC] ?? 0) }),
    latenessNs: w[at + C_LATENESS] ?? 0,
    resolutionNs: w[at + C_RESOLUTION] ?? 0,
    event: eventOf(w[at + C_EVENT]),
    original: { source: end(C_OSRC, C_OSPORT), destination: end(C_ODST, C_ODPORT) },
    ...((bits & HAS_REPLY) !== 0 && {
      reply: { source: end(C_RSRC, C_RSPORT), destination: end(C_RDST, C_RDPORT) },
    }),
    ...(state !== undefined && { state }),
    ...((bits & HAS_STATUS) !== 0 && {
      assured: (bits & IS_ASSURED) !== 0,
      unreplied: (bits & IS_UNREPLIED) !== 0,
    }),
    byProgram: (bits & IS_USERSPACE) !== 0,
    ...((bits & HAS_MARK) !== 0 && { mark: w[at + C_MARK] ?? 0 }),
    ...(zone !== 0 && { zone }),
    ...((bits & HAS_COUNTERS) !== 0 && {
      counters: {
        original: { packets: wide(C_OPACKETS), bytes: wide(C_OBYTES) },
        reply: { packets: wide(C_RPACKETS), bytes: wide(C_RBYTES) },
      },
    }),
  };
}

function eventOf(word: number | undefined): SeenEntry['event'] {
  switch (word) {
    case EVENT_NEW:
      return 'new';
    case EVENT_UPDATE:
      return 'update';
    case EVENT_DESTROY:
      return 'destroy';
    default:
      return 'listed';
  }
}
