import { canonicalAddress, formatEndpoint } from '../../model/address.js';
import { compare } from '../../model/share.js';
import type { Distribution, WalkEnding } from '../../model/walk.js';

/** What the evidence says of where a connection went. What is absent nobody saw. */
export interface SeenEnd {
  /** Where it was translated to, and who says so: "conntrack's reply tuple". */
  readonly endpoint?: { readonly ip: string; readonly port: number; readonly saidBy: string };
  /** The client's address as the endpoint saw it, and who says so. */
  readonly source?: { readonly ip: string; readonly saidBy: string };
  /** It was refused or swallowed rather than delivered, and who says so. */
  readonly refused?: { readonly how: 'dropped' | 'rejected'; readonly saidBy: string };
}

/** The ways that a connection can have gone, as far as the evidence tells. */
export interface Taken {
  /** Those that fit, the likeliest first; several where chance and affinity lead to the same. None: no rule here leads there. */
  readonly endings: readonly WalkEnding[];
  /** How that is known, in sentences without a full stop; empty where nothing was seen. */
  readonly knownBy: readonly string[];
}

/** Chooses among the ways of a walk by what was seen. */
export function takenOf({ endings, packet }: Distribution, seen: SeenEnd): Taken {
  const knownBy: string[] = [];
  let fitting: readonly WalkEnding[] = endings;
  const narrow = (
    fits: (ending: WalkEnding) => boolean,
    saidBy: string,
    otherwise: string,
  ): void => {
    const left = fitting.filter(fits);
    if (left.length === 0) knownBy.push(otherwise);
    else knownBy.push(saidBy);
    fitting = left;
  };
  const { endpoint, source, refused } = seen;
  if (!endpoint && !refused) return { endings: [], knownBy };
  if (refused) {
    const { how, saidBy } = refused;
    narrow(
      ({ kind }) => kind === how,
      `${saidBy} that it was ${how}`,
      `${saidBy} that it was ${how}, to which no rule here leads`,
    );
  }
  if (endpoint && fitting.length > 0) {
    const { ip, port, saidBy } = endpoint;
    const name = formatEndpoint(ip, port);
    const stays = isSame(ip, packet.destination) && port === packet.port;
    narrow(
      (ending) =>
        isAt(ending, endpoint) ||
        (stays && ending.ip === undefined && ending.kind === 'untranslated'),
      `${saidBy} names ${name}`,
      `${saidBy} names ${name}, to which no way through these rules leads: they changed, or another program translated it`,
    );
  }
  if (source && fitting.length > 0) {
    const { ip, saidBy } = source;
    const hidden = !isSame(ip, packet.source);
    const wanted = hidden ? 'yes' : 'no';
    const alike = fitting.filter(
      ({ masquerade }) => masquerade === wanted || masquerade === 'unknown',
    );
    const words = hidden ? `was masqueraded as ${ip}` : 'kept its source address';
    // Another program may masquerade; that does not change by which rules it went to its endpoint.
    if (alike.length > 0) {
      fitting = alike;
      knownBy.push(`${saidBy} shows that it ${words}`);
    } else knownBy.push(`${saidBy} shows that it ${words}, which these rules do not explain`);
  }
  fitting = [...fitting].sort((a, b) => compare(b.share, a.share));
  if (fitting.length > 1) knownBy.push(whySeveral(fitting));
  return { endings: fitting, knownBy };
}

function isAt(
  { ip, port }: WalkEnding,
  at: { readonly ip: string; readonly port: number },
): boolean {
  // A REDIRECT's address, a range's port: nobody knows them, so they may be these.
  return ip !== undefined && isSame(ip, at.ip) && (port === undefined || port === at.port);
}

function isSame(a: string, b: string): boolean {
  return a === b || (canonicalAddress(a) ?? a) === (canonicalAddress(b) ?? b);
}

function whySeveral(endings: readonly WalkEnding[]): string {
  const sticky = endings.filter(({ affinity }) => affinity).length;
  if (sticky > 0 && sticky < endings.length) {
    return 'session affinity and chance both lead there: which of them did is not known';
  }
  const assumes = endings.some(({ assuming }) => assuming.length > 0);
  return assumes
    ? `${endings.length} ways lead there, which differ in what is assumed`
    : `${endings.length} ways lead there`;
}
