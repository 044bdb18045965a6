import { createReadStream } from 'node:fs';
import { SaxesParser } from 'saxes';
import { ConntrackXmlReader } from '../../../src/decode/conntrack/xml.js';

interface XmlJob {
  readonly file: string;
  readonly rounds: number;
}

interface XmlResult {
  readonly ours: readonly number[];
  readonly saxes: readonly number[];
  readonly entries: number;
  readonly saxesEntries: number;
}

/** As a pipe from the conntrack program brings it. */
const CHUNK = 1 << 16;

/** Passes over a listing as text, in turn; the first of each does not count. */
export async function job({ file, rounds }: XmlJob): Promise<XmlResult> {
  const ours: number[] = [];
  const saxes: number[] = [];
  let entries = 0;
  let saxesEntries = 0;
  for (let round = 0; round <= rounds; round++) {
    const start = performance.now();
    entries = await scan(file);
    const between = performance.now();
    saxesEntries = await parse(file);
    const end = performance.now();
    if (round === 0) continue;
    ours.push((between - start) / 1000);
    saxes.push((end - between) / 1000);
  }
  return { ours, saxes, entries, saxesEntries };
}

async function scan(file: string): Promise<number> {
  const reader = new ConntrackXmlReader();
  let entries = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: CHUNK })) {
    reader.feed(chunk as Uint8Array);
    entries += reader.rows.length;
    reader.rows.clear();
  }
  reader.end();
  return entries + reader.rows.length;
}

/** What is needed of an entry, kept as an object: the least that one does with a general parser. */
async function parse(file: string): Promise<number> {
  const parser = new SaxesParser();
  let entries = 0;
  let text = '';
  let direction = '';
  let flow: Record<string, string> = {};
  parser.on('opentag', (tag) => {
    text = '';
    if (tag.name === 'flow') flow = {};
    else if (tag.name === 'meta') direction = String(tag.attributes['direction']);
  });
  parser.on('text', (more) => {
    text += more;
  });
  parser.on('closetag', (tag) => {
    if (tag.name !== 'flow') flow[`${direction} ${tag.name}`] = text;
    else if (flow['original src'] !== undefined && flow['reply src'] !== undefined) entries++;
  });
  for await (const chunk of createReadStream(file, { highWaterMark: CHUNK, encoding: 'utf8' })) {
    parser.write(chunk as string);
  }
  parser.close();
  return entries;
}
