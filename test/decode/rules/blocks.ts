import type { ClientCondition, ServiceEntry } from '../../../src/model/services.js';

function conditionText(condition: ClientCondition): string {
  const what =
    condition.is === 'network'
      ? condition.network
      : condition.is === 'interface'
        ? condition.name
        : 'local';
  return condition.negated ? `not ${what}` : what;
}

/** Entries as the kube-proxies of these tests tell them, an array an entry with its routes. */
export function blocks(entries: readonly ServiceEntry[]): string[][] {
  return entries.map((e) => {
    const name = e.service
      ? `${e.service.namespace}/${e.service.name}:${e.service.portName ?? ''}`
      : '-';
    const how = e.refusal === undefined ? e.action : `${e.action} ${e.refusal}`;
    return [
      `${e.protocol} ${e.address} ${e.port} ${e.via} ${name}${e.nameUnverified ? '?' : ''} ${how}${e.notLoopback ? ' not loopback' : ''}`,
      ...e.routes.map(({ ip, port, rule, clients }) => {
        const open = clients?.map((all) => all.map(conditionText).join(' & ')).sort();
        return `  ${ip} ${port} <- ${rule.path.join(' > ')} (${rule.affinity ? 'affinity' : rule.probability})${open === undefined ? '' : ` for ${open.join(' or ')}`}`;
      }),
    ];
  });
}

/** Lines of entries with their routes as blocks, sorted: kube-proxy's order of Services is random. */
export function sorted(lines: readonly string[]): string[][] {
  const all: string[][] = [];
  for (const line of lines) {
    if (line.startsWith(' ')) all.at(-1)?.push(line);
    else all.push([line]);
  }
  return all.sort(byHead);
}

export function byHead([a = '']: readonly string[], [b = '']: readonly string[]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
