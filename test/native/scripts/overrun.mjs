// Overruns the smallest buffer that a socket can have: 4,000 requests without a pause, each of which the
// kernel answers with an error message. Prints what came before the gap, and the gap. The kernel reports
// an overrun before it counts the message, so a first gap may say 0: then once more.
import { linkRequest, NLM_F_ACK, NLM_F_REQUEST, netlink, print } from './addon.mjs';

const REQUESTS = 4_000;
const request = linkRequest(NLM_F_REQUEST | NLM_F_ACK);

let datagrams = 0;
let over = false;
const it = netlink(
  (buffer, count, failure) => {
    if (failure) throw failure;
    const words = new Uint32Array(buffer);
    let at = 0;
    for (let i = 0; i < count; i++) {
      const [length, kind, seconds, nanoseconds] = words.subarray(at, at + 4);
      if (kind === 2) {
        const [dropped, fromSeconds, fromNanoseconds] = words.subarray(at + 5, at + 8);
        if (dropped === 0) {
          setImmediate(provoke);
          return;
        }
        print({
          type: 'gap',
          datagrams,
          dropped,
          seconds: seconds - fromSeconds + (nanoseconds - fromNanoseconds) / 1e9,
          granted: it.receiveBufferBytes(),
        });
        over = true;
        it.close();
        return;
      }
      datagrams++;
      at += 5 + ((length + 3) >> 2);
    }
  },
  { receiveBufferBytes: 1 },
);
function provoke() {
  if (over) return;
  for (let i = 0; i < REQUESTS; i++) it.send(request);
}
provoke();
