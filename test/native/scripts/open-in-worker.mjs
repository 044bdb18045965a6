// Opens in a worker thread, says so, and stays until it is terminated.
import { parentPort, workerData } from 'node:worker_threads';
import { netlink, ring } from './addon.mjs';

const it = workerData === 'ring' ? ring() : netlink();
parentPort.postMessage('open');
parentPort.on('message', () => it.close());
