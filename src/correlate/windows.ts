/** A packet and its translated copy pass within microseconds; between hosts, within clock error. */
export const PAIR_WINDOW_NS = 1_000_000_000;

/** A packet precedes conntrack's report of it; clocks of one machine differ by less. */
export const CLOCK_SLACK_NS = 1_000_000;

/** The same segment twice within this time is a copy; later, without any other mark, it was sent again. */
export const RESEND_NS = 150_000_000;

/** How many connections with one sequence number are looked at: scanners send a constant one. */
export const MAX_CANDIDATES = 32;

/** A time cut to whole seconds cannot order what happened within one. */
export const COARSE_NS = 1_000_000;
