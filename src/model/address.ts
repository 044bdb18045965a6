/**
 * Addresses. In rows an address is four 32-bit words in network order; IPv4 is held mapped
 * (0, 0, 0xffff, a.b.c.d), so that both families compare and hash alike; the row's family word says
 * how to print it. As text an address is canonical: dotted IPv4, RFC 5952 IPv6 without zone.
 */
export const MAPPED = 0xffff;

/** Reads IPv4 or IPv6 text into four words at `at`; the family, or 0 if it is no address. */
export function parseAddress(text: string, into: Uint32Array, at: number): 4 | 6 | 0 {
  const v4 = parseV4(text);
  if (v4 >= 0) {
    into[at] = 0;
    into[at + 1] = 0;
    into[at + 2] = MAPPED;
    into[at + 3] = v4;
    return 4;
  }
  return text.includes(':') && parseV6(text, into, at) ? 6 : 0;
}

/** Dotted-quad text to an unsigned 32-bit number; -1 if it is not that (leading zeros refused). */
function parseV4(text: string): number {
  let value = 0;
  let parts = 0;
  let part = -1;
  if (text.length > 15) return -1;
  for (let i = 0; i <= text.length; i++) {
    const c = i < text.length ? text.charCodeAt(i) : 0x2e;
    if (c === 0x2e) {
      if (part < 0 || parts === 4) return -1;
      value = value * 256 + part;
      parts++;
      part = -1;
    } else if (c >= 0x30 && c <= 0x39) {
      if (part === 0) return -1;
      part = (part < 0 ? 0 : part * 10) + c - 0x30;
      if (part > 255) return -1;
    } else {
      return -1;
    }
  }
  return parts === 4 ? value : -1;
}

function parseV6(text: string, into: Uint32Array, at: number): boolean {
  const groups: number[] = [];
  let gap = -1;
  let rest = text;
  const lastColon = text.lastIndexOf(':');
  if (text.includes('.')) {
    const v4 = parseV4(text.slice(lastColon + 1));
    if (v4 < 0) return false;
    rest = `${text.slice(0, lastColon + 1)}${(v4 >>> 16).toString(16)}:${(v4 & 0xffff).toString(16)}`;
  }
  const pieces = rest.split(':');
  if (pieces.length < 3 || pieces.length > 9) return false;
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i] ?? '';
    if (piece === '') {
      const edge = i === 0 || i === pieces.length - 1;
      if (edge) {
        // A leading or trailing colon is only right as part of '::'.
        if (pieces[i === 0 ? 1 : i - 1] !== '') return false;
        continue;
      }
      if (gap >= 0) return false;
      gap = groups.length;
      continue;
    }
    if (!/^[0-9a-fA-F]{1,4}$/.test(piece)) return false;
    groups.push(Number.parseInt(piece, 16));
  }
  if (gap < 0 ? groups.length !== 8 : groups.length > 7) return false;
  const full = new Array<number>(8).fill(0);
  const head = gap < 0 ? 8 : gap;
  for (let i = 0; i < head; i++) full[i] = groups[i] ?? 0;
  if (gap >= 0) {
    const tail = groups.length - gap;
    for (let i = 0; i < tail; i++) full[8 - tail + i] = groups[gap + i] ?? 0;
  }
  for (let w = 0; w < 4; w++) {
    into[at + w] = (((full[2 * w] ?? 0) << 16) | (full[2 * w + 1] ?? 0)) >>> 0;
  }
  return true;
}

/** Whether two addresses, each four words at an offset, are the same. */
export function sameAddress(a: Uint32Array, at: number, b: Uint32Array, bt: number): boolean {
  return (
    a[at + 3] === b[bt + 3] && a[at] === b[bt] && a[at + 1] === b[bt + 1] && a[at + 2] === b[bt + 2]
  );
}

/** Whether four words hold an IPv4 address. */
export function isMapped(words: Uint32Array, at: number): boolean {
  return words[at + 2] === MAPPED && words[at + 1] === 0 && words[at] === 0;
}

/** Canonical text of four words. */
export function formatAddress(words: Uint32Array, at: number, family: number): string {
  if (family === 4) {
    const v = words[at + 3] ?? 0;
    return `${v >>> 24}.${(v >>> 16) & 255}.${(v >>> 8) & 255}.${v & 255}`;
  }
  const groups: number[] = [];
  for (let w = 0; w < 4; w++) {
    const v = words[at + w] ?? 0;
    groups.push(v >>> 16, v & 0xffff);
  }
  // RFC 5952: the longest run of two or more zero groups is shortened, the first of equals.
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && groups[j] === 0) j++;
    if (j - i > length) {
      start = i;
      length = j - i;
    }
    if (j > i) i = j;
  }
  const hex = groups.map((g) => g.toString(16));
  if (start < 0) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}

const scratch = new Uint32Array(4);

/** Canonical form of address text, or `undefined` if it is no address. */
export function canonicalAddress(text: string): string | undefined {
  const family = parseAddress(text, scratch, 0);
  return family === 0 ? undefined : formatAddress(scratch, 0, family);
}

/** `ip:port`, IPv6 in brackets: the spelling of kube-proxy and of selectors. */
export function formatEndpoint(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}
