import { formatEndpoint } from '../../model/address.js';
import type { Attribution, Peer } from '../../model/attribution.js';

/** How every comment begins, and no other's: the connection's key follows. */
export const COMMENT_START = 'whichpod connection=';

/**
 * What a packet's comment says of its connection, in one line: verdict, who was asked by whom, chains,
 * probability, codes of notices. `whichpod connection=ID` begins it in every packet of the connection, on either side of its
 * translation, so that `frame.comment contains "connection=ID"` finds them all.
 */
export function commentOf(attribution: Attribution, codes: readonly string[] = []): string {
  const { service, rules, verdict, reason, outcome } = attribution;
  const said = [`${COMMENT_START}${attribution.connection}`];
  said.push(reason === undefined ? `verdict=${verdict}` : `verdict=${verdict} reason=${reason}`);
  said.push(`outcome=${outcome}`);
  if (service?.name !== undefined) {
    const port = service.portName === undefined ? '' : `:${service.portName}`;
    said.push(`service=${service.namespace ?? ''}/${service.name}${port}`);
  }
  if (service !== undefined) said.push(`via=${service.via}`);
  said.push(`client=${nameOf(attribution.client)}`);
  const { destination, backend } = attribution;
  said.push(`destination=${formatEndpoint(destination.ip, destination.port)}`);
  if (backend !== undefined) said.push(`backend=${nameOf(backend)}`);
  for (const claim of attribution.claims ?? []) {
    said.push(`${claim.evidence}-says=${nameOf(claim.backend)}`);
  }
  if (rules !== undefined && rules.path.length > 0) said.push(`chain=${rules.path.join('>')}`);
  if (rules?.probability !== undefined) said.push(`probability=${rules.probability}`);
  if (rules?.affinity === true) said.push('affinity=yes');
  if (codes.length > 0) said.push(`finding=${codes.join(',')}`);
  // Control characters of foreign names have no place in one line.
  return said.join(' ').replace(/\p{Cc}/gu, '?');
}

function nameOf({ pod, ip, port, node }: Peer): string {
  const at = formatEndpoint(ip, port);
  if (pod !== undefined) return `${pod.namespace}/${pod.name}(${at})`;
  return node === undefined ? at : `${node}(${at})`;
}
