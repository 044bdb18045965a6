import { formatEndpoint } from '../../model/address.js';
import type { Attribution, Peer } from '../../model/attribution.js';
import type { Explanation } from '../../model/explanation.js';
import { waysOf } from './ways.js';
import { packetWords, podName } from './words.js';

/** The explanation in one line: the title of a picture or page. Not escaped. */
export function titleOf({ attribution, walk, findings }: Explanation): string {
  if (attribution) return connectionTitle(attribution);
  if (findings[0]) return findings[0].title;
  return walk ? `If this came: ${packetWords(walk.possible.packet)}` : 'Nothing is known';
}

function connectionTitle({ client, service, destination, backend, outcome }: Attribution): string {
  const to =
    service?.name === undefined
      ? formatEndpoint(destination.ip, destination.port)
      : `${service.namespace ?? ''}/${service.name}`;
  const by = backend === undefined ? '' : ` → ${nameOf(backend)}`;
  return `${nameOf(client)} → ${to}${by}: ${outcome}`;
}

function nameOf(peer: Peer): string {
  return peer.pod === undefined ? formatEndpoint(peer.ip, peer.port) : podName(peer.pod);
}

/** What the picture shows, for those who do not see it. Not escaped. */
export function describe({ walk }: Explanation): string {
  if (walk === undefined) return 'No rules are known.';
  const ways = waysOf(walk).flatMap(({ assuming, ways: list }) =>
    list.map(({ percent, to, pod, taken, notes }) => {
      const said = [taken ? 'taken: ' : '', percent, ` to ${to}`, pod === '' ? '' : ` (${pod})`];
      const more = [...notes, ...assuming];
      return `${said.join('')}${more.length === 0 ? '' : `, ${more.join(', ')}`}`;
    }),
  );
  return `The first packet's way through the rules. It can end: ${ways.join('; ')}.`;
}
