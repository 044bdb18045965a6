/**
 * What is left of a value when all that is known of it was taken out: nothing, or this does not compile. What comes
 * to the model later must be looked at before it is written with pseudonyms.
 */
export function nothing(_rest: Record<string, never>): void {}

/** What projects call their releases; vendors put their names behind it. */
const RELEASE = /^v?\d{1,4}(?:\.\d{1,4}){1,3}(?![\w.])/;

/** `1.8.9`, `v1.30.4` of `v1.30.4-eks-a737599`; `undefined` for what is no version. */
export function releaseOf(version: string | undefined): string | undefined {
  return RELEASE.exec(version ?? '')?.[0];
}
