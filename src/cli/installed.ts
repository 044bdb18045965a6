import { fileURLToPath } from 'node:url';

/** Where whichpod is: two steps up from this file, from what it is compiled to, and from what that is bundled into. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
