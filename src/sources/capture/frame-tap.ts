/** A frame as it was captured. One object tells all of them: what is kept of it must be copied. */
export interface TappedFrame {
  /** Whole seconds since 1970, and nanoseconds within. */
  seconds: number;
  nanoseconds: number;
  /** Identifier in the run's `Interfaces`; 0 where it is not known. */
  interface: number;
  /** PACKET_HOST 0, _BROADCAST 1, _MULTICAST 2, _OTHERHOST 3, _OUTGOING 4 (linux/if_packet.h); -1 where it is not known. */
  packetType: number;
  /** LINKTYPE_ number of the bytes. */
  linkType: number;
  bytes: Uint8Array;
  from: number;
  captured: number;
  onWire: number;
  /** The words of its row, and where they begin; -1 for a frame that gave none. */
  words: Uint32Array;
  row: number;
}

/** Hears frames before the rows of their batch are told. */
export type FrameTap = (frame: TappedFrame) => void;

export function emptyFrame(): TappedFrame {
  return {
    seconds: 0,
    nanoseconds: 0,
    interface: 0,
    packetType: -1,
    linkType: 0,
    bytes: new Uint8Array(0),
    from: 0,
    captured: 0,
    onWire: 0,
    words: new Uint32Array(0),
    row: -1,
  };
}
