import { members } from './json-scan.js';
import { clusterKindOf } from './objects.js';

const WATCH_TYPE = /^"(?:ADDED|MODIFIED|DELETED|BOOKMARK|ERROR)"$/;

/**
 * Whether a file that begins with these bytes holds Kubernetes objects: a `document` (JSON values, or an
 * array of them, for readClusterDocument) or a `watch` (JSON lines, for WatchLogReader). The bytes may end anywhere;
 * 4 KiB are enough for what API servers, kubectl and recordings write.
 */
export function recogniseCluster(first: Uint8Array): 'document' | 'watch' | undefined {
  // A byte order mark is taken off by the decoder.
  const whole = new TextDecoder().decode(first);
  const array = /^\s*\[(?=\s*\{)/.exec(whole)?.[0] ?? '';
  const text = whole.slice(array.length);
  const seen = new Map<string, { start: number; value: string }>();
  for (const { key, value } of members(text)) {
    seen.set(key, { start: value.start, value: text.slice(value.start, value.end) });
  }
  const object = seen.get('object');
  if (object?.value.startsWith('{') && array === '') {
    // Lines only: a watch printed over several lines is not what the reader reads.
    const type = seen.get('type')?.value;
    const typed = type === undefined ? holdsApiObject(object.value) : WATCH_TYPE.test(type);
    return typed && !text.slice(0, object.start).trim().includes('\n') ? 'watch' : undefined;
  }
  const kind = /^"([A-Za-z]+)"$/.exec(seen.get('kind')?.value ?? '')?.[1];
  const version = seen.get('apiVersion')?.value.startsWith('"') === true;
  if (version) {
    // kubectl sorts the keys: `kind` of a list stands after its items.
    return kind !== undefined || seen.has('items') || seen.has('metadata') ? 'document' : undefined;
  }
  if (kind === undefined) return undefined;
  const one = kind.replace(/List$/, '');
  return one === '' || clusterKindOf(one) !== undefined ? 'document' : undefined;
}

function holdsApiObject(text: string): boolean {
  for (const { key } of members(text)) if (key === 'apiVersion' || key === 'metadata') return true;
  return false;
}
