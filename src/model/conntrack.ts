/**
 * A conntrack entry or event (nf_conntrack, as conntrack-tools 1.4.7 prints it or ctnetlink sends it).
 * Original tuple: as the client addressed it. Reply tuple: what the answer looks like, so its source is
 * the endpoint and its destination the peer that the endpoint sees.
 */
export const CONNTRACK_WORDS = 56;
/** Time of the event: seconds since 1970 and nanoseconds; both 0 where the input has no time (a listing). */
export const C_SEC = 0;
export const C_NSEC = 1;
/** The time was cut to a multiple of this many ns: the true printed time lies in [t, t + resolution). */
export const C_RESOLUTION = 2;
/** The event may have happened up to this many ns before it was printed or received. */
export const C_LATENESS = 3;
/** One of the EVENT_ constants. */
export const C_EVENT = 4;
/** 4 or 6. */
export const C_FAMILY = 5;
export const C_PROTOCOL = 6;
/** Bits: the HAS_ and IS_ constants. */
export const C_BITS = 7;
/** TCP state number (see TCP_STATES), valid with HAS_STATE. Never set for SCTP from XML or text: the names are wrong there. */
export const C_STATE = 8;
/** Seconds left, valid with HAS_TIMEOUT. */
export const C_TIMEOUT = 9;
export const C_MARK = 10;
/** Valid with HAS_ID. A hash, and not unique in time: see recordings. */
export const C_ID = 11;
/** Zone of both directions; directional zones apart. */
export const C_ZONE = 12;
export const C_ZONE_ORIGINAL = 13;
export const C_ZONE_REPLY = 14;
/** Original tuple: four words an address. */
export const C_OSRC = 15;
export const C_ODST = 19;
export const C_OSPORT = 23;
export const C_ODPORT = 24;
/** Reply tuple. */
export const C_RSRC = 25;
export const C_RDST = 29;
export const C_RSPORT = 33;
export const C_RDPORT = 34;
/** Kernel time of creation and end (nf_conntrack_timestamp), valid with HAS_START, HAS_STOP. */
export const C_START_SEC = 35;
export const C_START_NSEC = 36;
export const C_STOP_SEC = 37;
export const C_STOP_NSEC = 38;
/** Counters, valid with HAS_COUNTERS: low word, high word. */
export const C_OPACKETS = 39;
export const C_OBYTES = 41;
export const C_RPACKETS = 43;
export const C_RBYTES = 45;

export const EVENT_NEW = 1;
export const EVENT_UPDATE = 2;
export const EVENT_DESTROY = 3;
/** From a listing of the table. */
export const EVENT_LISTED = 4;

export const IS_ASSURED = 1 << 0;
/** No answer yet. Known for text and XML events and listings; for netlink from the status word. */
export const IS_UNREPLIED = 1 << 1;
/** The event was caused by a program (conntrack -D, kube-proxy's clean-up). */
export const IS_USERSPACE = 1 << 2;
export const HAS_STATE = 1 << 3;
export const HAS_TIMEOUT = 1 << 4;
export const HAS_MARK = 1 << 5;
export const HAS_ID = 1 << 6;
export const HAS_START = 1 << 7;
export const HAS_STOP = 1 << 8;
export const HAS_COUNTERS = 1 << 9;
export const HAS_TIME = 1 << 10;
/** The two flags above (assured, unreplied) were told; without it neither may be read as "no". */
export const HAS_STATUS = 1 << 11;
/** HAS_TIME holds and it is the kernel's own time of the event, not that of its printing or arrival. */
export const IS_KERNEL_TIME = 1 << 12;
/** The reply tuple was told (a damaged or foreign line may lack it). */
export const HAS_REPLY = 1 << 13;

/** include/uapi/linux/netfilter/nf_conntrack_tcp.h, in the kernel's order. */
export const TCP_STATES = [
  'NONE',
  'SYN_SENT',
  'SYN_RECV',
  'ESTABLISHED',
  'FIN_WAIT',
  'CLOSE_WAIT',
  'LAST_ACK',
  'TIME_WAIT',
  'CLOSE',
  'SYN_SENT2',
] as const;
