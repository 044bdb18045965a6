import type { BlockBuffer, PcapngOption } from './block-buffer.js';
import type { CaptureSurvey, CopiedBlock } from './capture-survey.js';
import { optionsIn } from './copied-options.js';

// draft-ietf-opsawg-pcapng, section 4.1.
const SECTION_HEADER = 0x0a0d0d0a;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const COMMENT = 1;
const SHB_HARDWARE = 2;
const SHB_OS = 3;
const SHB_APPLICATION = 4;
/** These a section has once. */
const SINGLE = [
  { code: SHB_HARDWARE, key: 'hardware' },
  { code: SHB_OS, key: 'os' },
  { code: SHB_APPLICATION, key: 'application' },
] as const;

/** Options of a header that stands for several: readers refuse blocks of more than 16 MiB. */
const MAX_BYTES = 1024 * 1024;

/**
 * Begins the section into which captures are copied. One section's header is copied; one that stands for several says
 * `application`, the hardware and system that all agree on, every comment and other option once, and in a
 * comment for each section where it came from with what is not told otherwise. How many options were left out.
 */
export function writeSectionHeader(
  out: BlockBuffer,
  survey: CaptureSurvey,
  application: string,
): number {
  const [only] = survey.sections;
  const isCopy = !survey.several && only?.header !== undefined;
  let left = survey.unknown;
  let options: readonly PcapngOption[] = [{ code: SHB_APPLICATION, value: application }];
  let minor = 0;
  if (isCopy) {
    const found = optionsOf(only.header);
    options = found.sound;
    left += found.wrong;
    minor = viewOf(only.header).getUint16(14, only.header.little);
  } else if (survey.several) {
    options = commonOptions(survey, application);
  }
  out.begin(SECTION_HEADER);
  out.u32(BYTE_ORDER_MAGIC);
  out.u16(1);
  out.u16(minor);
  // Section length -1: not known, the section goes on to the end.
  out.u32(0xffff_ffff);
  out.u32(0xffff_ffff);
  for (const { code, value } of options) {
    if (!isCopy && out.length > MAX_BYTES) left++;
    else out.option(code, value);
  }
  out.endOfOptions();
  out.end();
  return left;
}

function commonOptions(survey: CaptureSurvey, application: string): PcapngOption[] {
  const all = survey.sections.map(({ name, header }) => ({
    name,
    options: header === undefined ? [] : optionsOf(header).sound,
  }));
  const common: PcapngOption[] = [];
  for (const { code } of SINGLE) {
    const said = new Set(
      all.flatMap(({ options }) =>
        options.filter((it) => it.code === code).map(({ value }) => textOf(value)),
      ),
    );
    const [value] = said;
    if (code === SHB_APPLICATION) common.push({ code, value: application });
    else if (said.size === 1 && value !== undefined) common.push({ code, value });
  }
  const distinct = new Map<string, PcapngOption>();
  for (const { name, options } of all) {
    const rest = SINGLE.flatMap(({ code, key }) =>
      options
        .filter((it) => it.code === code)
        .map(({ value }) => textOf(value))
        .filter((text) => !common.some((it) => it.code === code && it.value === text))
        .map((text) => `${key}="${text}"`),
    );
    const origin = `from ${name}${rest.length === 0 ? '' : `: ${rest.join(' ')}`}`;
    distinct.set(origin, { code: COMMENT, value: origin });
    for (const option of options) {
      if (SINGLE.some(({ code }) => code === option.code)) continue;
      distinct.set(`${option.code} ${[...option.value].join(' ')}`, option);
    }
  }
  return [...common, ...distinct.values()];
}

function optionsOf(header: CopiedBlock): ReturnType<typeof optionsIn> {
  const { type, bytes, at, size, little } = header;
  const view = viewOf(header);
  const shorter = view.getUint32(at + 4, little) - size;
  return optionsIn({ type, bytes, view, from: at + 24, end: at + size - 4, little, shorter });
}

function viewOf({ bytes }: CopiedBlock): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Control characters have no place in one line. */
function textOf(value: Uint8Array): string {
  return new TextDecoder().decode(value).replace(/\p{Cc}/gu, '?');
}
