/** Apart, so that it is loaded when it is needed, and the bundle has no more of the library than this takes. */
export { KubeConfig } from '@kubernetes/client-node';
