/** `0x4000/0x4000`, `7`: value and mask. */
export function markOf(text: string | undefined): { value: number; mask: number } | undefined {
  const [value = '', mask = '0xffffffff', ...more] = text?.split('/') ?? [];
  const [a, b] = [numberOf(value), numberOf(mask)];
  return a === undefined || b === undefined || more.length > 0 ? undefined : { value: a, mask: b };
}

function numberOf(text: string): number | undefined {
  if (!/^(?:0x[0-9a-f]{1,8}|\d{1,10})$/i.test(text)) return undefined;
  const number = Number(text);
  return number <= 0xffff_ffff ? number : undefined;
}

export function hex(mark: number): string {
  return `0x${mark.toString(16)}`;
}
