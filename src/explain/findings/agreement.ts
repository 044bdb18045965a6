import type { End } from '../../model/case.js';
import type { Finding, FindingEvidence } from '../../model/finding.js';
import { type Diagnosis, type Look, shown } from '../look.js';
import { sameEnd } from '../places.js';
import { storyEndpoint } from '../story.js';
import { endText } from '../words.js';

/** Sources, or the views of this explanation, that do not agree with each other. */
export const agreement: Diagnosis = (look) => [
  ...conflict(look),
  ...viewsDisagree(look),
  ...unexplainedMasquerade(look),
];

function conflict({ case: { attribution } }: Look): readonly Finding[] {
  if (attribution.verdict !== 'conflict') return [];
  const claims = attribution.claims ?? [];
  return [
    {
      code: 'evidence-conflicts',
      weight: 'fault',
      title: 'conntrack and packets name different endpoints',
      evidence: claims.map(({ evidence, backend }) =>
        shown(evidence, `${evidence} says ${endText(backend)}`, attribution.time),
      ),
      meaning:
        'Two sources that each should know contradict each other, so which endpoint served is not said. Something else translated too, or the recordings are not of one moment.',
      next: [
        'are all inputs of one node and one run?',
        'conntrack -L; nft list ruleset   # who else translates?',
      ],
    },
  ];
}

/** The walk's end, the story's and the header's must be one. */
function viewsDisagree({ case: it, walk }: Look): readonly Finding[] {
  const { attribution } = it;
  // Where sources conflict the views do so too, and that is said already.
  if (attribution.verdict === 'conflict') return [];
  const said: [FindingEvidence['from'], string, End | undefined][] = [
    ['conntrack', 'the header', attribution.backend],
    ['packets', 'the story', attribution.backend === undefined ? undefined : storyEndpoint(it)],
    ['rules', 'the walk', walkEnd(walk?.taken)],
  ];
  const ends = said.flatMap(([, , end]) => (end === undefined ? [] : [end]));
  const [first] = ends;
  if (first === undefined || ends.every((end) => sameEnd(end, first))) return [];
  return [
    {
      code: 'views-disagree',
      weight: 'odd',
      title: 'the views of this explanation name different endpoints',
      evidence: said.flatMap(([from, what, end]) =>
        end === undefined ? [] : [shown(from, `${what} ends at ${endText(end)}`)],
      ),
      meaning:
        'The header, the story and the walk through the rules are made of different evidence and must end at one endpoint. They do not, so one of them is not to be trusted here.',
      next: ['record it (whichpod record) and report it: one of the views is wrong'],
    },
  ];
}

function walkEnd(
  taken: { readonly ip?: string; readonly port?: number } | undefined,
): End | undefined {
  if (taken?.ip === undefined || taken.port === undefined) return undefined;
  return { ip: taken.ip, port: taken.port };
}

/** The walk and what the endpoint sees differ about source NAT. */
function unexplainedMasquerade({ case: { attribution }, walk }: Look): readonly Finding[] {
  const { backend, client, source, evidence } = attribution;
  const said = walk?.taken?.masquerade;
  if (backend === undefined || said === undefined || said === 'unknown') return [];
  const hidden = source !== undefined && source.ip !== client.ip;
  if (hidden === (said === 'yes')) return [];
  // Only conntrack tells for certain that nothing hid the client: packets may lie before POSTROUTING.
  if (!hidden && (source !== undefined || !evidence.includes('conntrack'))) return [];
  return [
    {
      code: 'masquerade-unexplained',
      weight: 'odd',
      title: hidden
        ? 'the client’s address was replaced, and no rule of the walk does that'
        : 'the walk masquerades, and the endpoint sees the client’s own address',
      evidence: [
        shown(
          'conntrack',
          hidden
            ? `the endpoint sees ${endText(source)} in place of ${endText(client)}`
            : `the endpoint sees ${endText(client)}`,
          attribution.time,
        ),
        shown(
          'rules',
          `by the rules that were read it is ${said === 'yes' ? '' : 'not '}masqueraded`,
        ),
      ],
      meaning:
        'What conntrack did and what the rules say differ: rules in a table that was not read, a program in eBPF, or rules that have changed since.',
      next: ['nft list ruleset; iptables-legacy-save; iptables-nft-save   # all of POSTROUTING'],
    },
  ];
}
