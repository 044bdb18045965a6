import type { AddonLoad } from '../../src/native/binding.js';

/** The addon's types, for fakes of it. */
type Addon = Extract<AddonLoad, { readonly ok: true }>['addon'];
export type RingOptions = ConstructorParameters<Addon['PacketRing']>[0];
export type NetlinkOptions = ConstructorParameters<Addon['NetlinkSocket']>[0];
export type BatchCallback = ConstructorParameters<Addon['PacketRing']>[1];
