import cap from 'cap';

interface CapJob {
  readonly filter: string;
}

/** What cap.ts gives it. */
const FRAME_BYTES = 65_536;
const KERNEL_BUFFER_BYTES = 128 << 20;

/** Captures on all interfaces with cap and counts, until SIGINT; says `listening` on stderr when it does. */
export async function job({ filter }: CapJob): Promise<number> {
  const frame = Buffer.alloc(FRAME_BYTES);
  const capture = new cap.Cap();
  let packets = 0;
  capture.on('packet', () => {
    packets++;
  });
  capture.open('any', filter, KERNEL_BUFFER_BYTES, frame);
  process.stderr.write('listening\n');
  await new Promise((resolve) => process.once('SIGINT', resolve));
  capture.close();
  process.stderr.write(`${packets} packets\n`);
  return packets;
}
