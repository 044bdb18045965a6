/**
 * What whichpod says about each file of `pcaps/malformed/`: the table of its README, and of the test that
 * holds whichpod to it.
 */
import { malformedFiles } from './make-malformed.js';

/** One replay of a malformed input beside sound ones. */
export interface MalformedCase {
  /** Paths under `pcaps/malformed/`. */
  readonly inputs: readonly string[];
  readonly defect: string;
  readonly beside: readonly string[];
  readonly exit: 0 | 2;
  /** All that is written to stderr; absent: nothing. */
  readonly says?: string;
  /** Items lost, as the loss event counts them; absent: no loss event. */
  readonly lost?: number;
  /** The connections at the end: client's port, Service, Pod (or address), evidence. */
  readonly rows: readonly string[];
}

/** The sound recording's connections when nothing is wrong with it. */
const SOUND = [
  '42001 nginx nginx-a conntrack+rules+cluster',
  '42002 nginx nginx-b conntrack+rules+cluster',
];
const CAPTURED_BEFORE = '41001 nginx nginx-a packets+rules+cluster';
const CAPTURED_AFTER = '41002 nginx nginx-b packets+rules+cluster';
const TRACKED_BEFORE = '41001 nginx nginx-a conntrack+rules+cluster';
const TRACKED_AFTER = '41002 nginx nginx-b conntrack+rules+cluster';
/** Without the second Pod, which stands in the part that was lost. */
const ONE_POD = [
  '42001 nginx nginx-a conntrack+rules+cluster',
  '42002 nginx 10.244.1.5 conntrack+rules',
];

const GOOD = ['good'];
const WITHOUT_RULES = ['good/conntrack-events.txt', 'good/pods.json'];
const WITHOUT_PODS = ['good/conntrack-events.txt', 'good/iptables-save.txt'];

type Row = Pick<MalformedCase, 'says' | 'lost'> & { readonly rows: readonly string[] };

/** Read as far as it can be. */
function used(file: string, defect: string, row: Row, beside = GOOD): MalformedCase {
  const { says, ...rest } = row;
  return {
    inputs: [file],
    defect,
    beside,
    exit: 0,
    ...rest,
    ...(says === undefined ? {} : { says: `${file}: ${says}` }),
  };
}

/** Nothing of it can be used: the end, in one line. */
function refused(file: string, defect: string, says: string): MalformedCase {
  return {
    inputs: [file],
    defect,
    beside: GOOD,
    exit: 2,
    says: `whichpod: ${file}: ${says}`,
    rows: [],
  };
}

const CAPTURES: readonly MalformedCase[] = [
  refused(
    'pcap-header-cut.pcap',
    'cut within the file header',
    'the input ends within the file header, after 10 bytes (byte 10); the file is incomplete: copy or record it again',
  ),
  refused(
    'pcap-version.pcap',
    'version 3.0',
    'pcap version 3.0 is not known, only 2.4 is (byte 4); rewrite the file with a current tcpdump (-r OLD -w NEW) or editcap',
  ),
  used('pcap-record-cut.pcap', 'cut within a record', {
    says: 'the last record is cut: 30 of 90 bytes are there (record 5, byte 384) [1 lost]; what came before it counts; if the file is still being written, read it again later',
    lost: 1,
    rows: [CAPTURED_BEFORE, ...SOUND],
  }),
  used('pcap-record-length.pcap', 'a record of 300,000 bytes', {
    says: 'a record of 300000 bytes is longer than the limit of 262144 (record 5, byte 384); the file is damaged here: what came before counts; record it again, or repair it with pcapfix',
    lost: 1,
    rows: [CAPTURED_BEFORE, ...SOUND],
  }),
  used('pcap-link-type.pcap', 'a link type that is not read (IEEE 802.11)', {
    says: 'packets of link type 105 cannot be decoded (8 records, this is the first) (record 1, byte 24) [8 lost]; capture on Ethernet, on a tunnel (RAW), on the loopback, or on `any`',
    lost: 8,
    rows: SOUND,
  }),
  refused(
    'pcapng-byte-order.pcapng',
    'no byte-order magic',
    'the section header has no byte-order magic (record 1, byte 8); the file is damaged here: what came before counts; record it again',
  ),
  refused(
    'pcapng-version.pcapng',
    'version 9.1',
    'pcapng version 9.1 is not known, only 1.0 and 1.2 are (record 1, byte 12); convert the file with a current editcap',
  ),
  used('pcapng-byte-order-later.pcapng', 'a second section without byte-order magic', {
    says: 'the section header has no byte-order magic (record 7, byte 528); the file is damaged here: what came before counts; record it again',
    lost: 1,
    rows: [CAPTURED_BEFORE, ...SOUND],
  }),
  used('pcapng-block-cut.pcapng', 'cut within a block', {
    says: 'the last block is cut: 50 of 108 bytes are there (record 7, byte 520) [1 lost]; what came before it counts; if the file is still being written, read it again later',
    lost: 1,
    rows: [CAPTURED_BEFORE, ...SOUND],
  }),
  used('pcapng-block-length-4.pcapng', 'a block of 4 bytes', {
    says: "a block's length of 4 is too short for its kind (record 7, byte 524); the file is damaged here: what came before counts; record it again",
    lost: 1,
    rows: [CAPTURED_BEFORE, ...SOUND],
  }),
  used('pcapng-block-too-long.pcapng', 'a block of 1 GiB', {
    says: "a block's length of 1073741824 is longer than the limit of 16777216 bytes (record 7, byte 524); the file is damaged here: what came before counts; record it again",
    lost: 1,
    rows: [CAPTURED_BEFORE, ...SOUND],
  }),
  used('pcapng-block-trailer.pcapng', 'a block whose two lengths differ', {
    says: 'a block begins with length 52 and ends with length 56 (record 7, byte 568); the file is damaged here: what came before counts; record it again',
    lost: 1,
    rows: [CAPTURED_BEFORE, ...SOUND],
  }),
  used('pcapng-captured-length.pcapng', 'a packet longer than its block', {
    says: 'a packet of 4000 bytes does not fit into its block (record 7, byte 520) [1 lost]; these packets are skipped: the program that wrote the file has a fault, or the file is damaged',
    lost: 1,
    rows: [CAPTURED_BEFORE, CAPTURED_AFTER, ...SOUND],
  }),
  used('pcapng-unknown-interface.pcapng', 'a packet of an interface that is not declared', {
    says: 'a packet names interface 7, which its section does not declare (record 7, byte 520) [1 lost]; these packets are skipped: the program that wrote the file has a fault, or the file is damaged',
    lost: 1,
    rows: [CAPTURED_BEFORE, CAPTURED_AFTER, ...SOUND],
  }),
  used('gzip-cut.pcap.gz', 'a compressed capture that is cut', {
    says: 'the compressed file is cut off (byte 384); what came before it counts; copy or record the file again',
    lost: 1,
    rows: [CAPTURED_BEFORE, ...SOUND],
  }),
  used('gzip-damaged.txt.gz', 'a compressed file with a wrong checksum', {
    says: 'the compressed file is damaged (byte 378); what came before it counts; copy or record the file again',
    lost: 1,
    rows: [TRACKED_BEFORE, TRACKED_AFTER, ...SOUND],
  }),
  refused(
    'gzip-rubbish.pcap.gz',
    'a gzip header with rubbish behind it',
    'the compressed file is damaged (byte 0); copy or record the file again',
  ),
  used('empty.pcap', 'nothing in it', {
    says: 'empty: taken as a listing or recording of nothing',
    rows: SOUND,
  }),
  used('random.pcap', 'random bytes', {
    says: 'not recognised, skipped; is it a capture, output of conntrack, rules or Kubernetes objects?',
    rows: SOUND,
  }),
];

const CONNTRACK: readonly MalformedCase[] = [
  used('conntrack-flow-cut.xml', 'cut within a flow', {
    says: 'the last conntrack entry is cut short (line 4, byte 709) [1 lost]; the entry is left out; record the input again if this repeats',
    lost: 1,
    rows: [TRACKED_BEFORE, ...SOUND],
  }),
  used('conntrack-flow-damaged.xml', 'a port that is no number', {
    says: 'a conntrack entry cannot be read: a number is none (line 4, byte 709) [1 lost]; the entry is left out; record the input again if this repeats',
    lost: 1,
    rows: [TRACKED_BEFORE, TRACKED_AFTER, ...SOUND],
  }),
  used('conntrack-open.xml', 'a document that was left open', {
    says: 'the conntrack document ends without </conntrack>: the program that wrote it was killed (line 5, byte 1367); what it had printed until then was read; later entries may be missing',
    rows: [TRACKED_BEFORE, TRACKED_AFTER, ...SOUND],
  }),
  used('conntrack-userspace.xml', 'remarks between the flows (usual)', {
    rows: [TRACKED_BEFORE, TRACKED_AFTER, ...SOUND],
  }),
  {
    inputs: ['conntrack-listing-one.xml', 'conntrack-listing-other.xml'],
    defect: 'two listings without a time that contradict each other',
    beside: GOOD,
    exit: 2,
    says: 'whichpod: two listings of conntrack without a time contradict each other: conntrack-listing-one.xml and conntrack-listing-other.xml; say when each was taken, FILE@TIME (seconds since 1970 or RFC 3339), or leave one out',
    rows: [],
  },
  used('conntrack-line-cut.txt', 'cut within a line', {
    says: 'the last line of conntrack is cut short (line 2, byte 189) [1 lost]; the line is left out; record the input again if this repeats',
    lost: 1,
    rows: [TRACKED_BEFORE, ...SOUND],
  }),
  used('conntrack-line-damaged.txt', 'a port of 99999', {
    says: 'a line of conntrack cannot be read: a number is none (line 2, byte 189) [1 lost]; the line is left out; record the input again if this repeats',
    lost: 1,
    rows: [TRACKED_BEFORE, TRACKED_AFTER, ...SOUND],
  }),
  used('conntrack-line-hostile.txt', 'a line of control sequences', {
    says: 'a line of conntrack cannot be read: its event is not known (line 2, byte 189) [1 lost]; the line is left out; record the input again if this repeats',
    lost: 1,
    rows: [TRACKED_BEFORE, TRACKED_AFTER, ...SOUND],
  }),
  used('conntrack-overrun.txt', 'conntrack says that it lost events', {
    says: 'conntrack lost events here: its netlink buffer was full (line 2, byte 189) [1 lost]; connections of that moment may be missing',
    lost: 1,
    rows: [TRACKED_BEFORE, TRACKED_AFTER, ...SOUND],
  }),
];

const RULES: readonly MalformedCase[] = [
  used(
    'rules-cut.txt',
    'cut within the rules',
    {
      says: 'the rules end inside table nat, without COMMIT (line 18); what was read is used; record the rules again to have them all',
      lost: 1,
      // The rules that lead to the endpoints stand in the part that is missing.
      rows: ['42001 - nginx-a conntrack+cluster', '42002 - nginx-b conntrack+cluster'],
    },
    WITHOUT_RULES,
  ),
  used(
    'rules-no-commit.txt',
    'no COMMIT',
    {
      says: 'the rules end inside table nat, without COMMIT (line 20); what was read is used; record the rules again to have them all',
      lost: 1,
      rows: SOUND,
    },
    WITHOUT_RULES,
  ),
  used(
    'rules-line-damaged.txt',
    'a line that is no rule, with a control sequence',
    {
      says: 'not understood: [0:0] KUBE-SERVICES -d 10.96.0.1/32 -j \\u{1b}[31mKUBE (line 12) [1 lost]; the line was skipped; is this the output of iptables-save?',
      lost: 1,
      rows: SOUND,
    },
    WITHOUT_RULES,
  ),
  used(
    'rules-line-long.txt',
    'a line of more than 64 KiB',
    {
      says: 'a line of more than 65536 characters is no rule (line 12) [1 lost]; the line was skipped; is this the output of iptables-save?',
      lost: 1,
      rows: SOUND,
    },
    WITHOUT_RULES,
  ),
  used(
    'rules-chain-undeclared.txt',
    "a chain's declaration is missing",
    {
      says: 'a rule of chain KUBE-SVC-2CMXP7HKUVJN7L6M, which table nat does not declare (line 15); the rule is kept; is the beginning of the table missing?',
      rows: SOUND,
    },
    WITHOUT_RULES,
  ),
  used(
    'rules-outside-table.txt',
    'a line behind COMMIT',
    {
      says: 'outside of any table: :KUBE-SEP-IZW656N5ZXYN5BEC - [0:0] (line 22) [1 lost]; the line was skipped; is this the output of iptables-save?',
      lost: 1,
      rows: SOUND,
    },
    WITHOUT_RULES,
  ),
  {
    inputs: ['rules-undated-one.txt', 'rules-undated-other.txt'],
    defect: 'two rule dumps without a time that differ',
    beside: GOOD,
    exit: 2,
    says: 'whichpod: two dumps of the same rules without a time differ: rules-undated-one.txt and rules-undated-other.txt; say when each was taken, FILE@TIME (seconds since 1970 or RFC 3339), or leave one out',
    rows: [],
  },
];

const LISTS_AGAIN =
  'take the list again: kubectl get pods,services,endpointslices,nodes -A -o json';
const WATCH_AGAIN = 'record the watch again, or add a list that was taken later';

const OBJECTS: readonly MalformedCase[] = [
  used(
    'pods-cut.json',
    'cut within the second Pod',
    {
      says: `the list is cut off or damaged behind item 1 (record 2, line 30, byte 450); ${LISTS_AGAIN}`,
      lost: 1,
      rows: ONE_POD,
    },
    WITHOUT_PODS,
  ),
  refused(
    'pods-not-json.json',
    'a bracket of the wrong kind',
    `the document is cut off or no JSON (line 1, byte 48); ${LISTS_AGAIN}`,
  ),
  used(
    'pods-item-of-wrong-shape.json',
    'an item that is no object',
    {
      says: `an item that is no object (record 2) [1 lost]; ${LISTS_AGAIN}`,
      lost: 1,
      rows: ONE_POD,
    },
    WITHOUT_PODS,
  ),
  refused(
    'pods-items-of-wrong-shape.json',
    'items that are no list',
    `the items of the list are no list (line 1); ${LISTS_AGAIN}`,
  ),
  used(
    'pods-one-page.json',
    'the first page of a list',
    {
      says: `the list is one page of several (it has a continue token) [2 lost]; ${LISTS_AGAIN}`,
      lost: 2,
      rows: ONE_POD,
    },
    WITHOUT_PODS,
  ),
  used(
    'watch-line-damaged.jsonl',
    'a line that is no JSON',
    {
      says: `the line is not JSON (line 2) [1 lost]; ${WATCH_AGAIN}`,
      lost: 1,
      rows: SOUND,
    },
    WITHOUT_PODS,
  ),
  used(
    'watch-line-cut.jsonl',
    'cut within a line',
    {
      says: `the last line is cut off (line 2) [1 lost]; ${WATCH_AGAIN}`,
      lost: 1,
      rows: ONE_POD,
    },
    WITHOUT_PODS,
  ),
  used(
    'watch-gone.jsonl',
    'the server ended the watch (410)',
    {
      says: `the server ended the watch: too old resource version (line 2) [1 lost]; ${WATCH_AGAIN}`,
      lost: 1,
      rows: SOUND,
    },
    WITHOUT_PODS,
  ),
  refused(
    'addresses-cut.json',
    'ip -j addr, cut',
    'the list of interfaces is damaged or cut off (line 19, byte 229); record it again: ip -j addr',
  ),
];

export const MALFORMED: readonly MalformedCase[] = [
  ...CAPTURES,
  ...CONNTRACK,
  ...RULES,
  ...OBJECTS,
];

/** The README of `pcaps/malformed/`. */
export function readme(): string {
  const rows = MALFORMED.map(({ inputs, defect, exit, says = '(nothing)', beside, lost }) => {
    const cells = [inputs.map((it) => `\`${it}\``).join(', '), defect, `\`\`${says}\`\``];
    return `| ${[...cells, lost ?? '', exit, beside.join(' ')].join(' | ')} |`;
  });
  return `# Malformed inputs

${malformedFiles().size} small files with one defect each, and what whichpod says on stderr when it replays them
beside (a part of) the sound recording in \`good/\`, in this folder: \`whichpod replay FILE BESIDE ...\`.

An input that can be read in part gives that part, a \`loss\` event that counts what is missing, and exit
code 0; one that cannot be used at all ends the program with exit code 2.

\`npx tsx test/support/write-malformed.ts\` makes all of this again; \`test/replay/malformed.test.ts\` holds
whichpod to it.

| file | defect | what whichpod says | lost | exit code | beside |
|---|---|---|---|---|---|
${rows.join('\n')}
`;
}
