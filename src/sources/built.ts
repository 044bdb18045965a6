import { fileURLToPath } from 'node:url';

/** The path of a compiled program, from dist/. Two steps up are from here, from dist/sources and from dist/chunks. */
export const builtProgram = (path: string): string =>
  fileURLToPath(new URL(`../../dist/${path}`, import.meta.url));
