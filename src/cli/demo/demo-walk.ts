import { serviceChainHash } from '../../decode/rules/chain-names.js';
import { IptablesSaveReader } from '../../decode/rules/iptables-save.js';
import type { Lab } from '../../lab/lab.js';
import { TUTORIAL_CLIENT } from '../../lab/tutorial.js';
import { formatEndpoint } from '../../model/address.js';
import type { Chain, Rule, Table } from '../../model/ruleset.js';
import type { Io } from '../io.js';

/** The tutorial's request went to this Pod; the kernel rolls dice, so ours may take some tries. */
const TUTORIAL_POD = 'nginx-86c57db685-vskrb';
/** With one chance in four, 64 tries fail once in a hundred million demos. */
const MAX_TRIES = 64;
const SERVICE = 'default/nginx';

/** One line of the walk: a rule with its counters before and after the request. */
interface Step {
  readonly chain: string;
  readonly rule: Rule;
  readonly before: string;
  readonly after: string;
}

/** The way it is done by hand: read the counters, send one request, see which rules moved. */
export async function showWalk(lab: Lab, io: Io): Promise<void> {
  const service = lab.options.services[0];
  const endpoint = lab.options.pods.find((pod) => pod.name === TUTORIAL_POD);
  if (service === undefined || endpoint === undefined) return;
  for (let tries = 1; tries <= MAX_TRIES && !io.signal.aborted; tries++) {
    await lab.exec('node', [lab.options.ruleBackend, '-t', 'nat', '-Z']);
    const before = natTable(await lab.rules());
    const [row] = await lab.request({ from: TUTORIAL_CLIENT, to: SERVICE, count: 1 });
    if (row?.pod !== TUTORIAL_POD) continue;
    const after = natTable(await lab.rules());
    const address = formatEndpoint(service.clusterIP, service.port);
    io.stderr.write(
      `\nBy hand: one request to Service ${SERVICE}, ${address}; packets and bytes of each rule before and after` +
        `${tries > 1 ? ` (try ${tries}: which Pod is chance)` : ''}\n\n`,
    );
    io.stderr.write(table(steps(before, after, service.clusterIP)));
    const today = `KUBE-SVC-${serviceChainHash('default/nginx', 'tcp')}`;
    io.stderr.write(
      `\n${endpoint.ip}:80 is the address of Pod ${TUTORIAL_POD} on ${lab.options.nodeName}.\n` +
        `(Chain names as Kubernetes up to 1.19 makes them; since 1.20 the same Service is ${today}.)\n\n`,
    );
    return;
  }
}

function natTable(saved: string): Table | undefined {
  const reader = new IptablesSaveReader();
  reader.feed(new TextEncoder().encode(saved));
  reader.end();
  return reader.dumps[0]?.tables.get('nat');
}

/** The Service's dispatch rule, its balancing rules, and what each leads to. */
function steps(before: Table | undefined, after: Table | undefined, clusterIP: string): Step[] {
  const found: Step[] = [];
  const add = (chain: Chain, index: number): Rule | undefined => {
    const rule = chain.rules[index];
    const was = before?.chains.get(chain.name)?.rules[index];
    if (rule === undefined) return undefined;
    found.push({ chain: chain.name, rule, before: counters(was), after: counters(rule) });
    return rule;
  };
  const services = after?.chains.get('KUBE-SERVICES');
  const dispatch =
    services?.rules.findIndex(
      (rule) => rule.target?.name.startsWith('KUBE-SVC-') === true && rule.text.includes(clusterIP),
    ) ?? -1;
  const first = services === undefined || dispatch < 0 ? undefined : add(services, dispatch);
  const balancing = after?.chains.get(first?.target?.name ?? '');
  if (balancing === undefined) return found;
  for (const [index, rule] of balancing.rules.entries()) {
    if (rule.target?.name.startsWith('KUBE-SEP-') !== true) continue;
    add(balancing, index);
    const endpoint = after?.chains.get(rule.target.name);
    const dnat = endpoint?.rules.findIndex((it) => it.target?.name === 'DNAT') ?? -1;
    if (endpoint !== undefined && dnat >= 0) add(endpoint, dnat);
  }
  return found;
}

function counters(rule: Rule | undefined): string {
  return rule?.packets === undefined ? '' : `${rule.packets} ${rule.bytes}`;
}

function table(all: readonly Step[]): string {
  const rows = all.map(({ chain, rule, before, after }) => {
    const probability = option(rule, 'statistic', 'probability');
    const to = rule.target?.options.find((o) => o.name.endsWith('to-destination'))?.values[0];
    return [
      before,
      after,
      after === before ? ' ' : '*',
      chain,
      probability === undefined ? '' : `probability ${probability}`,
      to === undefined ? `-> ${rule.target?.name ?? ''}` : `DNAT to ${to}`,
    ];
  });
  const head = ['before', 'after', ' ', 'in chain', '', ''];
  const widths = head.map((_, i) =>
    Math.max(...[head, ...rows].map((row) => (row[i] ?? '').length)),
  );
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, i) => (i < 2 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `  ${line}\n`)
    .join('');
}

function option(rule: Rule, match: string, name: string): string | undefined {
  const found = rule.matches.find((m) => m.name === match);
  return found?.options.find((o) => o.name.endsWith(name))?.values[0];
}
