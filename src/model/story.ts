import type { Nanos } from './time.js';

/** What happened to a connection, place by place. */
export interface Story {
  /** Left to right on the way of the packet: the client's interface, NAT, the Pod's interface, the uplink. */
  readonly places: readonly StoryPlace[];
  readonly lines: readonly StoryLine[];
  /** The moment that the lines' times count from: its first packet. */
  readonly begin?: Nanos;
}

export interface StoryPlace {
  readonly role: 'client' | 'nat' | 'backend' | 'uplink' | 'bridge' | 'other' | 'cluster';
  /** `vethab12`, `conntrack`, `eth0`. */
  readonly name: string;
  /** Whose: `shop/web-1`. */
  readonly of?: string;
}

export interface StoryLine {
  readonly time?: Nanos;
  /** Since `begin`; absent where there is no time. Negative for what came before. */
  readonly sinceNs?: number;
  /** How far the time may be off, where it is more than 1 ms. */
  readonly uncertaintyNs?: number;
  /** Index into `places`. */
  readonly place: number;
  /** On which way it went; absent for what is no packet. */
  readonly way?: 'forward' | 'back';
  /** "SYN", "SYN-ACK", "NEW -> 10.244.1.5:80", "rules changed". */
  readonly what: string;
  /** Addresses, numbers; empty if there is no more to say. */
  readonly detail: string;
  /** Something went wrong here. */
  readonly bad: boolean;
}
