import type { Finding, FindingEvidence } from '../../model/finding.js';
import type { ConntrackTable } from '../../model/readings.js';
import { type Diagnosis, type Look, shown } from '../look.js';
import { countText, kubectlService } from '../words.js';

/** What ailed the node's conntrack table while the connection lived. */
export const conntrackTable: Diagnosis = (look) => [...tableFull(look), ...insertFailed(look)];

function tableFull({ case: { conntrackTable: readings } }: Look): readonly Finding[] {
  const full = [readings?.before, readings?.after].find(
    (reading) =>
      reading?.count !== undefined && reading.max !== undefined && reading.count >= reading.max,
  );
  const dropped = growth(readings?.before, readings?.after, 'drop');
  const thrownOut = growth(readings?.before, readings?.after, 'earlyDrop');
  if (full === undefined && dropped === 0 && thrownOut === 0) return [];
  const evidence: FindingEvidence[] = [];
  if (full !== undefined) {
    const says = `${full.count ?? 0} entries of at most ${full.max ?? 0}`;
    evidence.push(shown('node', says, full.time));
  }
  const { time } = readings?.after ?? {};
  if (dropped > 0) {
    const says = `${countText(dropped, 'packet')} dropped meanwhile, because no entry could be made`;
    evidence.push(shown('node', says, time));
  }
  if (thrownOut > 0) {
    const says = `${countText(thrownOut, 'entry', 'entries')} thrown out meanwhile to make room`;
    evidence.push(shown('node', says, time));
  }
  return [
    {
      code: 'conntrack-table-full',
      weight: 'fault',
      title: 'the node’s conntrack table is full',
      evidence,
      meaning:
        'Every connection through the node takes an entry. When none is left the kernel drops the first packets of new connections, whosever they are: timeouts at random all over the node.',
      next: [
        'sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max; dmesg | grep "table full"',
        "conntrack -L -o extended | awk '{print $3, $6}' | sort | uniq -c | sort -rn | head   # of what are there so many?",
        'raise conntrack.maxPerCore of kube-proxy, or shorten what keeps entries (nf_conntrack_tcp_timeout_established)',
      ],
    },
  ];
}

function insertFailed(look: Look): readonly Finding[] {
  const { attribution, conntrackTable: readings } = look.case;
  const failed = growth(readings?.before, readings?.after, 'insertFailed');
  if (failed === 0) return [];
  const { name } = kubectlService(look.case);
  return [
    {
      code: 'conntrack-insert-failed',
      weight: attribution.outcome === 'unanswered' ? 'fault' : 'odd',
      title: `${countText(failed, 'packet')} dropped by clashes in conntrack while the connection was open`,
      evidence: [
        shown(
          'node',
          `insert_failed grew by ${failed} meanwhile, over the whole node`,
          readings?.after?.time,
        ),
        shown('node', 'not to be told: whether a packet of this very connection was among them'),
      ],
      meaning:
        'Two packets that begin the same flow at the same time (a resolver’s A and AAAA queries from one socket), or two flows that were given the same translated tuple, clash when their entries are confirmed; the later packet is dropped. The client waits for its timeout, 5 s with most resolvers.',
      next: [
        'conntrack -S   # insert_failed, again after some seconds',
        `for DNS: NodeLocal DNSCache, or options single-request-reopen in resolv.conf of ${name}'s clients`,
        'iptables-save -t nat | grep MASQUERADE   # --random-fully keeps masqueraded ports apart',
      ],
    },
  ];
}

/** By how much a counter grew between two readings; one reading alone says nothing. */
function growth(
  before: ConntrackTable | undefined,
  after: ConntrackTable | undefined,
  counter: 'drop' | 'earlyDrop' | 'insertFailed',
): number {
  const [from, to] = [before?.[counter], after?.[counter]];
  return from === undefined || to === undefined ? 0 : Math.max(0, to - from);
}
