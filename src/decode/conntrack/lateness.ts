/**
 * How late a conntrack event may be told, in ns (C_LATENESS). The kernel sends an event within
 * microseconds, but the receiver's time is the moment at which its process read it: 10 ms late were
 * seen under light load, and a process that must wait for a busy machine waits longer. One second is
 * also the bound after which a connection is judged with what is known.
 */
export const EVENT_LATENESS_NS = 1_000_000_000;
