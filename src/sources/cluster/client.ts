import { KubeConfig } from '@kubernetes/client-node';

/**
 * A configuration that knows nothing yet. Apart, so that the library is loaded when it is needed, and the
 * bundle has no more of it than this takes.
 */
export const newKubeConfig = (): KubeConfig => new KubeConfig();
