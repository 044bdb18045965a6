const PROTOCOLS: ReadonlyMap<string, number> = new Map([
  ['tcp', 6],
  ['udp', 17],
  ['sctp', 132],
]);

/** Of a name or a number; -1 for a name that is none of those that have ports here. */
export function protocolNumber(text: string): number {
  return /^\d{1,3}$/.test(text) ? Number(text) : (PROTOCOLS.get(text.toLowerCase()) ?? -1);
}

export function protocolText(number: number): string {
  for (const [name, known] of PROTOCOLS) if (known === number) return name.toUpperCase();
  return `of protocol ${number}`;
}
