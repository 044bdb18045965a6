/** The part of cap 0.2.1 that is used; the package has no types and is CommonJS. */
declare module 'cap' {
  class Cap {
    /**
     * Returns libpcap's name of the link type. `buffer` gets each packet and is not referenced by cap:
     * whoever lets go of it while the capture is open corrupts the heap.
     */
    open(device: string, filter: string, kernelBufferBytes: number, buffer: Buffer): string;
    on(event: 'packet', listener: (bytes: number, truncated: boolean) => void): void;
    close(): void;
  }
  const cap: { readonly Cap: typeof Cap };
  export = cap;
}
