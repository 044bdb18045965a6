import type { ClientCondition, EndpointRoute } from '../../model/services.js';

/** Whom a way is open to, as `EndpointRoute.clients` says it. */
export type Clients = readonly (readonly ClientCondition[])[];

/** A way that is known and that another rule leads to as well, for these clients. */
export function either(way: EndpointRoute, clients: Clients | undefined): EndpointRoute {
  if (way.clients === undefined || way.clients === clients) return way;
  const { ip, port, rule } = way;
  if (clients === undefined) return { ip, port, rule };
  let known = way.clients;
  for (const one of clients) {
    if (known.some((other) => isAtLeast(other, one))) continue;
    known = [...known.filter((other) => !isAtLeast(one, other)), one];
  }
  return known === way.clients ? way : { ip, port, rule, clients: known };
}

/** A way that is open only to those whom ranges name too. */
export function within(way: EndpointRoute, ranges: Clients): EndpointRoute {
  const clients = (way.clients ?? [[]]).flatMap((conditions) =>
    ranges.map((range) => [...range, ...conditions]),
  );
  return { ...way, clients };
}

/** Whether of whom all conditions of `b` hold, those of `a` hold too: they are among them. */
function isAtLeast(a: readonly ClientCondition[], b: readonly ClientCondition[]): boolean {
  return a.every((one) => b.some((other) => isSame(one, other)));
}

function isSame(a: ClientCondition, b: ClientCondition): boolean {
  if (a.negated !== b.negated) return false;
  switch (a.is) {
    case 'network':
      return b.is === 'network' && a.network === b.network;
    case 'interface':
      return b.is === 'interface' && a.name === b.name;
    case 'local':
      return b.is === 'local';
  }
}
