import { escapeText } from '../escape.js';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Foreign text for HTML, SVG and attributes of either: what would act is shown, what would be markup is text. */
export function markup(text: string): string {
  return escapeText(text).replace(/[&<>"']/g, (c) => ENTITIES[c] ?? '');
}
