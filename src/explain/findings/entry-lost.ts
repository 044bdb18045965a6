import type { Finding } from '../../model/finding.js';
import { type Diagnosis, shown } from '../look.js';
import { endText } from '../words.js';

/** conntrack's entry was taken away, or begun, in the middle of the connection. */
export const entryLost: Diagnosis = ({ case: it }) => {
  const { attribution, changes, conntrack, notices } = it;
  const findings: Finding[] = [];
  const deleted = conntrack.find(
    ({ event, byProgram, state }) =>
      event === 'destroy' && byProgram && state !== 'TIME_WAIT' && state !== 'CLOSE',
  );
  // kube-proxy deletes UDP entries of endpoints that go: as it should.
  const isCleanUp =
    attribution.protocol === 'udp' &&
    changes.some(
      ({ endpoint }) =>
        endpoint?.ip === attribution.backend?.ip &&
        endpoint?.became !== 'added' &&
        endpoint?.became !== 'ready',
    );
  if (deleted !== undefined) {
    findings.push({
      code: 'entry-deleted',
      weight: isCleanUp ? 'fact' : attribution.protocol === 'udp' ? 'odd' : 'fault',
      title: `a program deleted conntrack's entry${isCleanUp ? ', since its endpoint went' : ' while the connection was open'}`,
      evidence: [
        shown(
          'conntrack',
          'DESTROY, caused by a program (conntrack -D or -F, kube-proxy)',
          deleted.time,
        ),
      ],
      meaning:
        'Without its entry a connection is no longer translated: the next packet of a UDP flow is given an endpoint anew, one of a TCP connection may be sent to another Pod, which resets it, or reach the client untranslated.',
      next: [
        'conntrack -E -e DESTROY -o timestamp,extended   # who? the line ends in the program’s name',
        'look for scripts and agents that run conntrack -F or -D',
      ],
    });
  }
  const picked = notices.find(
    ({ code, connection }) =>
      code === 'picked-up-mid-stream' && connection === attribution.connection,
  );
  if (picked !== undefined) {
    findings.push({
      code: 'picked-up-mid-stream',
      weight: 'odd',
      title: `conntrack began to follow it in mid-stream${attribution.backend === undefined ? '' : `, with ${endText(attribution.backend)}`}`,
      evidence: [shown('conntrack', picked.detail, picked.time)],
      meaning:
        'conntrack took up a TCP connection whose beginning it did not see, or whose entry was gone (nf_conntrack_tcp_loose). The rules chose an endpoint anew for it: if that is another one, it answers with an RST.',
      next: [
        'sysctl net.netfilter.nf_conntrack_tcp_loose   # 0: such packets are INVALID instead',
        'why was the entry gone? a flush, a full table, a time-out shorter than the client’s keep-alive',
      ],
    });
  }
  return findings;
};
