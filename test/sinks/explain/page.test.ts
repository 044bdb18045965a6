import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Explanation } from '../../../src/model/explanation.js';
import { renderHtml } from '../../../src/sinks/explain/html.js';
import { type Browser, CHROMIUM, openBrowser } from './chromium.js';
import { COULD, EVIL_ONE, HAPPENED, REJECTED } from './samples.js';

/** Asked of the page from within; a page without scripts of its own answers the debugger all the same. */
const LOOK = `(() => {
  const of = (selector, property) => getComputedStyle(document.querySelector(selector))[property];
  const ratio = (a, b) => {
    const light = (color) => {
      const [r, g, b] = color.match(/[\\d.]+/g).map((it) => it / 255)
        .map((it) => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const [x, y] = [light(a), light(b)].sort((m, n) => n - m);
    return (x + 0.05) / (y + 0.05);
  };
  const paper = of('body', 'backgroundColor');
  return {
    paper,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    scripts: document.scripts.length,
    handlers: [...document.querySelectorAll('*')].filter((it) => it.getAttributeNames().some((name) => name.startsWith('on'))).length,
    text: ratio(of('body', 'color'), paper),
    heading: ratio(of('h1', 'color'), paper),
    dim: document.querySelector('.dim') ? ratio(of('.dim', 'color'), paper) : 21,
    drawn: document.querySelector('svg .hook') ? ratio(of('svg .hook', 'fill'), of('svg .lane', 'fill')) : 21,
    title: document.title,
  };
})()`;

interface Look {
  readonly paper: string;
  readonly wide: number;
  readonly scripts: number;
  readonly handlers: number;
  readonly text: number;
  readonly heading: number;
  readonly dim: number;
  readonly drawn: number;
  readonly title: string;
}

describe('the page in a real browser', () => {
  let browser: Browser | undefined;
  beforeAll(() => {
    if (CHROMIUM !== undefined) browser = openBrowser(CHROMIUM);
  });
  beforeEach((context) => {
    if (browser === undefined) context.skip('there is no Chromium');
  });
  afterAll(() => browser?.close());

  async function open(explanation: Explanation, scheme: string, width: number) {
    if (browser === undefined) throw new Error('no browser');
    const order = browser.ask.bind(browser);
    const { targetId } = await order('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await order('Target.attachToTarget', { targetId, flatten: true });
    const session = String(sessionId);
    const ask = (method: string, parameters: object = {}) => order(method, parameters, session);
    await ask('Emulation.setEmulatedMedia', {
      features: [{ name: 'prefers-color-scheme', value: scheme }],
    });
    const metrics = { width, height: 900, deviceScaleFactor: 1, mobile: false };
    await ask('Emulation.setDeviceMetricsOverride', metrics);
    await ask('Log.enable');
    await ask('Network.enable');
    const { frameTree } = await ask('Page.getFrameTree');
    const { frame } = frameTree as { frame: { id: string } };
    await ask('Page.setDocumentContent', { frameId: frame.id, html: renderHtml(explanation) });
    const { result } = await ask('Runtime.evaluate', { expression: LOOK, returnByValue: true });
    const { nodes } = await ask('Accessibility.getFullAXTree');
    await order('Target.closeTarget', { targetId });
    return {
      look: (result as { value: Look }).value,
      names: (nodes as { role?: { value: string }; name?: { value: string } }[]).map(
        ({ role, name }) => `${role?.value ?? ''} ${name?.value ?? ''}`,
      ),
    };
  }

  it.each([
    ['light', 1280],
    ['dark', 1280],
    ['light', 390],
    ['dark', 390],
  ])(
    'is readable in %s at %d columns of pixels, without moving sideways',
    async (scheme, width) => {
      for (const explanation of [HAPPENED, COULD, REJECTED]) {
        const { look } = await open(explanation, scheme, width);
        expect(look.wide).toBeLessThanOrEqual(0);
        const [red = 0] = (look.paper.match(/\d+/g) ?? []).map(Number);
        expect(scheme === 'dark' ? red < 64 : red > 192).toBe(true);
        // WCAG 2.2, 1.4.3.
        for (const ratio of [look.text, look.heading, look.dim, look.drawn]) {
          expect(ratio).toBeGreaterThanOrEqual(4.5);
        }
      }
    },
  );

  it('tells those who do not see it what the picture shows', async () => {
    const { names } = await open(HAPPENED, 'light', 1280);
    const title = 'default/client → default/nginx → default/nginx-86c57db685-vskrb: established';
    expect(names).toContain(`heading ${title}`);
    const picture = names.find((name) => /^(?:image|img) /.test(name));
    expect(picture).toContain(title);
    expect(picture).toContain('taken: 25% to 10.44.0.1:80');
  });

  it('runs nothing and fetches nothing, whatever names hold', async () => {
    const { look } = await open(EVIL_ONE, 'dark', 1280);
    expect(look).toMatchObject({ scripts: 0, handlers: 0 });
    expect(look.wide).toBeLessThanOrEqual(0);
    expect(look.title).toContain('<script>alert(1)</script>');
    expect(browser?.seen('Network.requestWillBeSent')).toEqual([]);
    expect(browser?.seen('Page.javascriptDialogOpening')).toEqual([]);
    expect(browser?.seen('Log.entryAdded')).toEqual([]);
  });
});
