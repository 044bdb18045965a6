import type { Case, SeenPacket } from '../model/case.js';
import type { Story, StoryLine } from '../model/story.js';
import type { Nanos } from '../model/time.js';
import { type Columns, columnsOf } from './story/columns.js';
import { changeLines, entryLines } from './story/entry-lines.js';
import { orderLines, type Placed } from './story/order.js';
import { packetLines } from './story/packet-lines.js';

/**
 * What happened to a connection, place by place, in order of time. A line whose time is known less
 * exactly than its neighbours' stands where it can have been, and says so where its order among them is
 * not known.
 */
export function tellStory(it: Case): Story {
  const begin = it.attribution.time ?? it.packets[0]?.time;
  const columns: Columns = columnsOf(it);
  const placed: Placed[] = [
    ...packetLines(it, columns),
    ...entryLines(it, columns),
    ...changeLines(it, columns),
  ];
  return {
    places: columns.places,
    lines: orderLines(placed).map((line) => told(line, begin)),
    ...(begin !== undefined && { begin }),
  };
}

/** Where the story says that the connection went, by its last translated opening packet or conntrack's word. */
export function storyEndpoint(it: Case): { ip: string; port: number } | undefined {
  const opened = (packet: SeenPacket): boolean =>
    packet.way === 'forward' &&
    packet.view === 'translated' &&
    (packet.kind === 'syn' || packet.kind === 'init' || packet.kind === 'datagram');
  return (
    it.packets.findLast(opened)?.to ?? it.conntrack.findLast(({ reply }) => reply)?.reply?.source
  );
}

function told({ line }: Placed, begin: Nanos | undefined): StoryLine {
  if (line.time === undefined || begin === undefined) return line;
  return { ...line, sinceNs: Number(line.time - begin) };
}
