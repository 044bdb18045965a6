/** What cap's child process and its parent say to each other. */

/** Parent to child. `open` comes first and once; `taken` answers each `frames`. */
export type ToChild =
  | { readonly type: 'open'; readonly filter: string; readonly snaplen: number }
  | { readonly type: 'taken' };

/** Child to parent. `open` or `failed` answers `open`; after `failed` the child ends. */
export type FromChild =
  | { readonly type: 'open'; readonly linkType: string }
  | {
      readonly type: 'failed';
      /** `missing`: cap cannot be loaded. `permission`: the system refused. */
      readonly why: 'missing' | 'permission' | 'other';
      readonly message: string;
    }
  /**
   * `count` frames, each with a header of four 32-bit words, little-endian (seconds, nanoseconds, bytes
   * that follow, bytes on the wire), padded to a multiple of four bytes.
   */
  | {
      readonly type: 'frames';
      readonly bytes: Uint8Array;
      readonly count: number;
      /** Frames since the last message that there was no room for: the parent was too slow. */
      readonly dropped: number;
    };

export const FRAME_HEADER_BYTES = 16;
