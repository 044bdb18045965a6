/**
 * What is in `pcaps/malformed/`: files with one defect each, and beside them a small sound recording
 * (`good/`). `write-malformed.ts` writes them; a test holds them against what this makes.
 */
import { bytesOf, concat, PcapngBuilder, pcap } from './capture-builder.js';
import { seeded } from './seeded.js';
import {
  addEnhanced,
  addressList,
  beginPcapng,
  type Connection,
  eventFlow,
  eventLine,
  listedFlow,
  POD_A,
  POD_B,
  POD_OBJECTS,
  pcapRecords,
  podList,
  ruleLines,
  serviceList,
  storedGzip,
  text,
  watchLine,
  XML_END,
  XML_HEAD,
} from './small-world.js';

/** In the malformed file: one connection before the defect, and one after. */
const BEFORE: Connection = { port: 41_001, pod: POD_A, at: 100 };
const AFTER: Connection = { port: 41_002, pod: POD_B, at: 300 };
/** In the sound recording. */
const SOUND: readonly Connection[] = [
  { port: 42_001, pod: POD_A, at: 50 },
  { port: 42_002, pod: POD_B, at: 350 },
];

/** Content of a file by its path under `pcaps/malformed/`. */
type Files = ReadonlyMap<string, Uint8Array>;

/** What the malformed files stand beside in the tests. */
export function soundFiles(): Files {
  return new Map([
    ['good/conntrack-events.txt', text(SOUND.map(eventLine).join(''))],
    ['good/iptables-save.txt', text(`${ruleLines().join('\n')}\n`)],
    ['good/pods.json', text(podList(POD_OBJECTS))],
    ['good/services.json', text(serviceList())],
  ]);
}

export function malformedFiles(): Files {
  return new Map([
    ...classicCaptures(),
    ...pcapngCaptures(),
    ...compressed(),
    ...conntrackXml(),
    ...conntrackText(),
    ...rules(),
    ...objects(),
    ['empty.pcap', new Uint8Array(0)],
    ['random.pcap', rubbish(512)],
  ]);
}

function classicCaptures(): [string, Uint8Array][] {
  const [before, after] = [pcapRecords(BEFORE), pcapRecords(AFTER)];
  const whole = pcap([...before, ...after]);
  const [first] = after;
  const long = first === undefined ? [] : [{ ...first, captured: 300_000, onWire: 300_000 }];
  return [
    // Within the first record after BEFORE.
    ['pcap-record-cut.pcap', whole.subarray(0, pcap(before).length + 30)],
    ['pcap-header-cut.pcap', whole.subarray(0, 10)],
    ['pcap-record-length.pcap', pcap([...before, ...long, ...after])],
    ['pcap-version.pcap', pcap([...before, ...after], { version: [3, 0] })],
    // LINKTYPE_IEEE802_11.
    ['pcap-link-type.pcap', pcap([...before, ...after], { linkType: 105 })],
  ];
}

function pcapngCaptures(): [string, Uint8Array][] {
  const before = () => addEnhanced(beginPcapng(), BEFORE);
  const cut = before().bytes().length + 50;
  const [stray] = pcapRecords(AFTER);
  const frame = stray?.frame ?? new Uint8Array(0);
  const sections = (section: Parameters<PcapngBuilder['section']>[0]) =>
    addEnhanced(new PcapngBuilder().section(section).interface({ name: 'veth1' }), AFTER).bytes();
  return [
    ['pcapng-block-cut.pcapng', addEnhanced(before(), AFTER).bytes().subarray(0, cut)],
    [
      'pcapng-block-length-4.pcapng',
      addEnhanced(before().raw(bytesOf(6, 0, 0, 0, 4, 0, 0, 0)), AFTER).bytes(),
    ],
    [
      'pcapng-block-too-long.pcapng',
      addEnhanced(before().raw(bytesOf(6, 0, 0, 0, 0, 0, 0, 0x40)), AFTER).bytes(),
    ],
    [
      'pcapng-block-trailer.pcapng',
      addEnhanced(before().block(6, new Uint8Array(40), { trailerLie: 4 }), AFTER).bytes(),
    ],
    ['pcapng-byte-order.pcapng', sections({ byteOrderMagic: 0x11223344 })],
    [
      'pcapng-byte-order-later.pcapng',
      addEnhanced(before().section({ byteOrderMagic: 0x11223344 }), AFTER).bytes(),
    ],
    [
      'pcapng-unknown-interface.pcapng',
      addEnhanced(before().enhanced(frame, { interface: 7 }), AFTER).bytes(),
    ],
    [
      'pcapng-captured-length.pcapng',
      addEnhanced(before().enhanced(frame, { captured: 4_000 }), AFTER).bytes(),
    ],
    ['pcapng-version.pcapng', sections({ version: [9, 1] })],
  ];
}

function compressed(): [string, Uint8Array][] {
  const plain = pcap([...pcapRecords(BEFORE), ...pcapRecords(AFTER)]);
  const whole = storedGzip(plain);
  const lines = text(eventLine(BEFORE) + eventLine(AFTER));
  // 15 bytes of gzip and block header stand before the content.
  const cut = 15 + pcap(pcapRecords(BEFORE)).length;
  return [
    ['gzip-cut.pcap.gz', whole.subarray(0, cut)],
    ['gzip-rubbish.pcap.gz', concat(whole.subarray(0, 10), rubbish(300))],
    ['gzip-damaged.txt.gz', storedGzip(lines, { crc: 0x0bad_0bad })],
  ];
}

function conntrackXml(): [string, Uint8Array][] {
  const [before, after] = [eventFlow(BEFORE), eventFlow(AFTER)];
  const port = '<sport>41099</sport>';
  const damaged = eventFlow({ ...AFTER, port: 41_099 });
  const elsewhere = listedFlow({ ...BEFORE, pod: POD_B });
  return [
    ['conntrack-flow-cut.xml', text(XML_HEAD + before + after.slice(0, 200))],
    [
      'conntrack-flow-damaged.xml',
      text(XML_HEAD + before + damaged.replace(port, '<sport>eighty</sport>') + after + XML_END),
    ],
    ['conntrack-open.xml', text(XML_HEAD + before + after)],
    [
      'conntrack-userspace.xml',
      text(
        XML_HEAD +
          before.replace('\n', ' [USERSPACE] portid=3004979427 progname=conntrack\n') +
          'conntrack v1.4.7 (conntrack-tools): 2 flow events have been shown.\n' +
          after +
          XML_END,
      ),
    ],
    ['conntrack-listing-one.xml', text(XML_HEAD + listedFlow(BEFORE) + XML_END)],
    ['conntrack-listing-other.xml', text(XML_HEAD + elsewhere + XML_END)],
  ];
}

function conntrackText(): [string, Uint8Array][] {
  const [before, after] = [eventLine(BEFORE), eventLine(AFTER)];
  return [
    ['conntrack-line-cut.txt', text(before + after.slice(0, 120))],
    ['conntrack-line-damaged.txt', text(before + after.replace('dport=80', 'dport=99999') + after)],
    [
      'conntrack-line-hostile.txt',
      text(`${before}[\u001b[2J\u001b]0;owned\u0007\u202e] src=\u009b31m\n${after}`),
    ],
    [
      'conntrack-overrun.txt',
      text(
        `${before}WARNING: We have hit ENOBUFS! We are losing events.\nThis message means that the current netlink socket buffer size is too small.\nPlease, check --buffer-size in conntrack(8) manpage.\n${after}`,
      ),
    ],
  ];
}

/** Rules from which every line that `leave` refuses is left out, and behind the table's declarations `more`. */
function rulesWith(
  more: readonly string[],
  leave: (line: string) => boolean = () => true,
): Uint8Array {
  const lines = ruleLines().filter(leave);
  const at = lines.findIndex((line) => line.includes('-A PREROUTING'));
  return text(`${[...lines.slice(0, at), ...more, ...lines.slice(at)].join('\n')}\n`);
}

function rules(): [string, Uint8Array][] {
  const whole = rulesWith([]);
  const ends = text(ruleLines().at(-4) ?? '').length;
  const isService = (line: string): boolean => line.startsWith(':KUBE-SVC-');
  const undated = (only: number): Uint8Array =>
    text(`${ruleLines({ header: false, only }).slice(0, -1).join('\n')}\n`);
  return [
    ['rules-cut.txt', whole.subarray(0, whole.length - 100 - ends)],
    ['rules-no-commit.txt', rulesWith([], (line) => line !== 'COMMIT')],
    [
      'rules-line-damaged.txt',
      rulesWith(['[0:0] KUBE-SERVICES -d 10.96.0.1/32 -j \u001b[31mKUBE']),
    ],
    [
      'rules-line-long.txt',
      rulesWith([`[0:0] -A OUTPUT -m comment --comment "${'x'.repeat(65_536)}"`]),
    ],
    ['rules-chain-undeclared.txt', rulesWith([], (line) => !isService(line))],
    ['rules-outside-table.txt', text(`${ruleLines().join('\n')}\n${ruleLines()[10] ?? ''}\n`)],
    ['rules-undated-one.txt', undated(0)],
    ['rules-undated-other.txt', undated(1)],
  ];
}

function objects(): [string, Uint8Array][] {
  const pods = podList(POD_OBJECTS);
  const [first = {}, second = {}, third = {}] = POD_OBJECTS;
  // Within the second item.
  const cut = pods.indexOf('"nginx-b"') + 5;
  const lines = [first, second, third].map(watchLine);
  const addresses = addressList();
  return [
    ['pods-cut.json', text(pods.slice(0, cut))],
    ['pods-not-json.json', text('{"kind":"PodList","apiVersion":"v1","metadata":{]}\n')],
    ['pods-item-of-wrong-shape.json', text(podList([first, 'nginx-b', third]))],
    [
      'pods-items-of-wrong-shape.json',
      text(`{"kind":"PodList","apiVersion":"v1","items":"none"}\n`),
    ],
    ['pods-one-page.json', text(podList([first], { continue: 'abc', remainingItemCount: 2 }))],
    [
      'watch-line-damaged.jsonl',
      text(`${lines[0]}{"type":"ADDED","object":{\n${lines[1]}${lines[2]}`),
    ],
    ['watch-line-cut.jsonl', text(`${lines[0]}${lines[1]?.slice(0, 60)}`)],
    [
      'watch-gone.jsonl',
      text(
        `${lines[0]}{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","code":410,"message":"too old resource version"}}\n${lines[1]}`,
      ),
    ],
    ['addresses-cut.json', text(addresses.slice(0, addresses.length - 60))],
  ];
}

/** Bytes that begin like nothing. */
function rubbish(length: number): Uint8Array {
  const random = seeded(7);
  return Uint8Array.from({ length }, () => Math.floor(random() * 256)).fill(0xfe, 0, 4);
}
